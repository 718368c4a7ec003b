/**
 * Alignment view on PromptPairAlign: source above, edit below, and a ribbon for each link between them.
 *
 * After a run it shows the tokens as the text encoder saw them. As soon as a prompt is typed over, and
 * before the first run, it shows in grey how the words are likely to be paired.
 */
import { el, roving, show, svg } from "../draw.js";
import { addView } from "../host.js";
import { say } from "../language.js";
import { isMark, previewOf } from "../prompts.js";
import { inputOf, isConnected, runOf } from "../upstream.js";

const HEIGHT = 132;
const GAP = 6; // between words; the tokens of one word touch
const MEANING = {
  taken: "takes the source's map",
  swapped: "takes the map of the word it stands for",
  inserted: "keeps its own map",
  dropped: "is in no word of the edit",
  unpaired: "can't be paired in this mode",
};

export function addAlignmentView(node) {
  const status = el("span", { class: "p2p-status", role: "status" });
  const track = el("div", { class: "p2p-track" });
  const scroller = el("div", { class: "p2p-alignment", role: "group" }, track);
  const legend = el("span", { class: "p2p-legend", "aria-hidden": "true" });
  const element = el(
    "div",
    { class: "p2p-alignment-view" },
    el("div", { class: "p2p-head" }, status, legend),
    scroller,
  );

  let drawn = null;
  const refresh = () => {
    const state = stateOf(node);
    status.textContent = state.status;
    status.title = state.hint ?? "";
    scroller.setAttribute(
      "aria-label",
      say(state.preview ? "Likely pairing of words, source and edit" : "Alignment of tokens, source and edit"),
    );
    element.classList.toggle("p2p-preview", Boolean(state.preview));
    if (!show(track, state, () => (drawn = chipsOf(state.alignment)).elements)) return;
    legend.replaceChildren(...legendOf(drawn.rows));
    roving(track);
    place(drawn, track);
  };
  // Chips can be measured only while they are on the page; what is measured never changes the node's size.
  new ResizeObserver(() => drawn && place(drawn, track)).observe(scroller);
  addView(node, { name: "alignment view", width: 380, element, height: () => HEIGHT, refresh });
}

/** What there is to show: { alignment, preview, status, hint }. */
function stateOf(node) {
  const run = runOf(node);
  if (run) return { alignment: run, status: say("Tokens as encoded") };
  const [source, edit, mode] = ["source_prompt", "edit_prompt", "mode"].map((name) => inputOf(node, name));
  if (source === undefined || edit === undefined) {
    const inputs = ["source_prompt", "edit_prompt"].filter((name) => isConnected(node, name)).join(", ");
    return { alignment: null, preview: true, status: say("{inputs}: queue once to see the tokens", { inputs }) };
  }
  const alignment = previewOf(source, edit.trim() ? edit : source, mode);
  return { alignment, preview: true, ...sayingOf(alignment, mode) };
}

/** What the view says of a preview. */
function sayingOf({ source, edit, links }, mode) {
  if (!source.length && !edit.length) return { status: say("Write two prompts to see how they pair") };
  const hint = say("Run the workflow to see the tokens that the text encoder makes.");
  if (links) return { status: say("Preview by words"), hint };
  const [old, fresh] = [source, edit].map((tokens) => tokens.filter(({ text }) => !isMark(text)).length);
  return {
    status: say("{mode} needs as many words in both: here are {old} and {fresh}", { mode, old, fresh }),
    hint: say("Use auto or refine."),
  };
}

/** The chips of both rows and the ribbons, not yet placed. */
function chipsOf(alignment) {
  if (!alignment) return { elements: [], rows: [[], []], links: [] };
  const rows = ["source", "edit"].map((side) => alignment[side].map((token, i) => chipOf(alignment, side, i)));
  const links = (alignment.links ?? []).map((link) => ({ ...link, ribbon: ribbonOf(link, rows) }));
  const ribbons = svg("svg", { class: "p2p-ribbons", "aria-hidden": "true" }, ...links.map((link) => link.ribbon));
  return { elements: [ribbons, ...rows[0], ...rows[1]], rows, links, ribbons, alignment };
}

function chipOf(alignment, side, i) {
  const token = alignment[side][i];
  const kind = kindOf(alignment, side, i);
  const text = token.kind === "text" ? token.text || "·" : token.kind;
  const partners = partnersOf(alignment, side, i);
  const position = token.position === undefined ? "" : `, ${say("token {number}", { number: token.position })}`;
  return el("span", {
    class: `p2p-chip p2p-token p2p-${kind} p2p-${token.kind}`,
    role: "img",
    "data-key": `${side} ${i}`,
    "data-kind": kind,
    "aria-label": `${say(side)}: ${text}${position}: ${say(kind)}${partners ? `, ${partners}` : ""}`,
    title: `${text}${position}\n${say(kind)}: ${say(MEANING[kind])}${partners ? `\n${partners}` : ""}`,
    text,
  });
}

function kindOf({ links }, side, i) {
  if (!links) return "unpaired";
  const link = links.findLast((link) => link[side].includes(i));
  return link?.kind ?? (side === "source" ? "dropped" : "inserted");
}

/** The ribbon of a link. Pointing at one of its chips lights it up, and the others. */
function ribbonOf({ source, edit, kind }, rows) {
  const ribbon = svg("path", { class: `p2p-ribbon p2p-${kind}` });
  const chips = [...source.map((i) => rows[0][i]), ...edit.map((j) => rows[1][j])];
  for (const chip of chips) {
    const light = (on) => () => [...chips, ribbon].forEach((part) => part.classList.toggle("p2p-lit", on));
    chip.addEventListener("pointerenter", light(true));
    chip.addEventListener("pointerleave", light(false));
    chip.addEventListener("focus", light(true));
    chip.addEventListener("blur", light(false));
  }
  return ribbon;
}

/** What the colours mean, of those that are there. */
function legendOf(rows) {
  const kinds = new Set(rows.flat().map((chip) => chip.dataset.kind));
  return Object.entries(MEANING)
    .filter(([kind]) => kinds.has(kind))
    .map(([kind, meaning]) => el("span", { class: `p2p-${kind}`, title: `${say(kind)}: ${say(meaning)}`, text: say(kind) }));
}

function partnersOf(alignment, side, i) {
  const [other, saying] = side === "edit" ? ["source", "from {words}"] : ["edit", "to {words}"];
  const partners = (alignment.links ?? []).filter((link) => link[side].includes(i)).flatMap((link) => link[other]);
  const texts = partners.map((j) => alignment[other][j]).filter((token) => token.kind === "text");
  return texts.length ? say(saying, { words: texts.map((token) => token.text).join(" ") }) : "";
}

/** Lay chips out so that linked ones stand one below the other, and draw the ribbons between them. */
function place({ rows, links, ribbons, alignment }, track) {
  if (!alignment || !track.isConnected || !track.offsetParent) return;
  const sides = [alignment.source, alignment.edit];
  const widths = rows.map((row) => row.map((chip) => chip.offsetWidth));
  const left = [[], []];
  const next = [0, 0]; // the first chip of each row that has no place yet
  const end = [0, 0];
  const put = (r, until) => {
    for (; next[r] < until; next[r]++) {
      const i = next[r];
      const joined = i && sides[r][i].kind === "text" && sides[r][i].word === sides[r][i - 1].word;
      rows[r][i].classList.toggle("p2p-joined", Boolean(joined));
      left[r][i] = end[r] + (joined ? 1 : i ? GAP : 0);
      end[r] = left[r][i] + widths[r][i];
    }
  };
  for (const { source, edit } of links) {
    put(0, source[0]);
    put(1, edit[0]);
    // Inside a word, or where the order differs, chips stay together instead.
    const begins = (r, i) => next[r] === i && sides[r][i].word !== sides[r][i - 1]?.word;
    if (begins(0, source[0]) && begins(1, edit[0])) end[0] = end[1] = Math.max(...end);
    put(0, Math.max(...source) + 1);
    put(1, Math.max(...edit) + 1);
  }
  rows.forEach((row, r) => {
    put(r, row.length);
    row.forEach((chip, i) => {
      chip.style.left = `${left[r][i]}px`;
      chip.style[r ? "bottom" : "top"] = "0";
    });
  });
  const width = Math.max(...end, 1);
  track.style.width = `${width}px`;
  const [top, bottom] = [rows[0][0]?.offsetHeight ?? 0, track.clientHeight - (rows[1][0]?.offsetHeight ?? 0)];
  ribbons.setAttribute("width", width);
  ribbons.setAttribute("height", track.clientHeight);
  const span = (r, of) => [
    Math.min(...of.map((i) => left[r][i])),
    Math.max(...of.map((i) => left[r][i] + widths[r][i])),
  ];
  for (const { source, edit, ribbon } of links) {
    const [[a, b], [c, d]] = [span(0, source), span(1, edit)];
    const middle = (top + bottom) / 2;
    ribbon.setAttribute(
      "d",
      `M${a},${top} C${a},${middle} ${c},${middle} ${c},${bottom} L${d},${bottom} C${d},${middle} ${b},${middle} ${b},${top} Z`,
    );
  }
}
