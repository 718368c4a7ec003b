/**
 * Word picker on AttentionReweight and AttentionLocalBlend: the words of the connected edit, to be clicked.
 *
 * Each row of words writes one text input, which stays the truth: what is typed there shows as chosen here.
 */
import { el, linesOf, roving, show, toggle } from "../draw.js";
import { addView, recordChange, refreshViews, setInput } from "../host.js";
import { coverOf, isTokenNumber, namesOf, splitPhrases, wordsOf } from "../prompts.js";
import { inputOf, isConnected, promptsOf } from "../upstream.js";

const LINE = 26;
const LABEL = 62;

/** @param rows [{ input, label, from }]: an input of words, and whose words: source, edits or both. */
export function addWordPicker(node, rows, { slider } = {}) {
  const lists = rows.map(({ input, label }) =>
    el("div", {
      class: "p2p-words",
      role: "toolbar",
      "aria-label": `${input}: choose words`,
      "data-input": input,
      "data-label": label,
    }),
  );
  const parts = rows.map(({ label }, i) =>
    el("div", { class: "p2p-word-row" }, el("span", { class: "p2p-label", text: label }), lists[i]),
  );
  const weight = slider && weightSlider(node, slider);
  const element = el("div", { class: "p2p-picker" }, ...parts, weight?.element);

  const refresh = () => {
    const prompts = promptsOf(node);
    rows.forEach((row, i) => {
      drawWords(node, lists[i], row, wordsFor(prompts, row.from));
    });
    weight?.refresh();
  };
  const height = () => {
    const prompts = promptsOf(node);
    const width = node.size[0] - LABEL - 30;
    const lines = rows.map(({ input, from }) => linesOf(chipTexts(node, input, wordsFor(prompts, from)), width));
    return lines.reduce((sum, n) => sum + Math.min(n, 5) * LINE, 0) + (weight ? LINE + 4 : 0);
  };
  addView(node, { name: "word picker", width: 300, element, height, refresh });
}

/** The words of each prompt that a row offers, or null where there are none to be known. */
function wordsFor(prompts, from) {
  if (!prompts) return null;
  const texts = { source: [prompts.source], edits: prompts.edits, both: [prompts.source, ...prompts.edits] }[from];
  const known = texts.filter((text) => text !== undefined);
  return known.length ? known.map(wordsOf) : null;
}

/** What an input says: chosen names, and phrases that are none of the words. */
function choiceOf(node, input, words) {
  const phrases = splitPhrases(String(inputOf(node, input) ?? ""));
  const names = words ? namesOf(words) : new Map();
  const covers = phrases.map((phrase) => (words ? coverOf(phrase, words, names) : []));
  return {
    names: [...names.keys()],
    phrases,
    covers,
    chosen: new Set(covers.flat()),
    others: phrases.filter((_, i) => !covers[i].length),
  };
}

const chipTexts = (node, input, words) => {
  const { names, others } = choiceOf(node, input, words);
  return words ? [...names, ...others] : ["connect an edit to pick its words"];
};

function drawWords(node, list, { input }, words) {
  const { names, chosen, others } = choiceOf(node, input, words);
  const locked = isConnected(node, input);
  show(list, [words, names, [...chosen], others, locked], () => {
    if (!words) return [el("span", { class: "p2p-status", text: "connect an edit to pick its words" })];
    const missing = others.map((phrase) => {
      const isNumber = isTokenNumber(phrase);
      const chip = toggle(phrase, {
        pressed: true,
        disabled: locked,
        label: isNumber ? `token ${phrase}` : `${phrase}, not in the prompt`,
        title: isNumber ? "A token by its number. Click to remove." : "Not a word of the prompt. Click to remove.",
        onclick: () =>
          write(
            node,
            input,
            splitPhrases(inputOf(node, input)).filter((p) => p !== phrase),
          ),
      });
      chip.classList.toggle("p2p-missing", !isNumber);
      return chip;
    });
    return [
      ...names.map((name) =>
        toggle(name, {
          pressed: chosen.has(name),
          disabled: locked,
          title: locked ? `${input} is set by a connected input` : null,
          onclick: () => flip(node, input, words, name),
        }),
      ),
      ...missing,
    ];
  });
  roving(list);
}

/** Choose a word or let go of it; a phrase that held more words leaves the others behind. */
function flip(node, input, words, name) {
  const { phrases, covers, chosen } = choiceOf(node, input, words);
  if (!chosen.has(name)) return write(node, input, [...phrases, name]);
  const left = phrases.flatMap((phrase, i) =>
    covers[i].includes(name) ? covers[i].filter((other) => other !== name) : [phrase],
  );
  return write(node, input, [...new Set(left)]);
}

function write(node, input, phrases) {
  setInput(node, input, phrases.join(", "));
  recordChange();
  refreshViews();
}

/** A slider for a number input. The input goes farther than the slider, and stays where it is if it does. */
function weightSlider(node, { input, min, max, step, neutral, label }) {
  const range = el("input", { type: "range", class: "p2p-range", min, max, step, "aria-label": label, list: null });
  const value = el("output", { class: "p2p-value" });
  range.addEventListener("input", () => {
    setInput(node, input, Number(range.value));
    refreshViews();
  });
  range.addEventListener("change", recordChange);
  range.addEventListener("dblclick", () => {
    setInput(node, input, neutral);
    recordChange();
    refreshViews();
  });
  range.title = `Double-click for ${neutral}`;
  const element = el("div", { class: "p2p-word-row" }, el("span", { class: "p2p-label", text: label }), range, value);
  const part = (x) => (100 * (Math.min(Math.max(x, min), max) - min)) / (max - min);
  const refresh = () => {
    const now = inputOf(node, input);
    range.disabled = isConnected(node, input);
    range.value = now ?? neutral;
    value.textContent = now === undefined ? "?" : `×${Math.round(now * 1000) / 1000}`;
    // The fill goes from "changes nothing" to the value.
    const [from, to] = [part(neutral), part(now ?? neutral)].sort((a, b) => a - b);
    range.style.setProperty("--p2p-from", `${from}%`);
    range.style.setProperty("--p2p-to", `${to}%`);
    range.classList.toggle("p2p-less", now < neutral);
  };
  return { element, refresh };
}
