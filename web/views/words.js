/**
 * Word picker on AttentionReweight and AttentionLocalBlend: the words of the connected edit, to be clicked.
 *
 * Each row of words writes one text input, which stays the truth: what is typed there shows as chosen here.
 */
import { el, heightOfRows, labelled, LINE, roving, show, toggle, wordList } from "../draw.js";
import { addView, recordChange, refreshViews, setInput } from "../host.js";
import { say } from "../language.js";
import { coverOf, isTokenNumber, namesOf, splitPhrases } from "../prompts.js";
import { inputOf, isConnected, promptsOf } from "../upstream.js";

// A node of another pack may connect it while the workflow is queued, which the page can't see before.
const NO_EDIT = "connect an edit to pick its words; if a node does so by itself, queue once";

/** @param rows [{ input, label, from }]: an input of words, and whose words: source, edits or both. */
export function addWordPicker(node, rows, { slider } = {}) {
  const lists = rows.map(({ input, label }) =>
    wordList({ "aria-label": say("{input}: choose words", { input }), "data-input": input, "data-label": label }),
  );
  const weight = slider && weightSlider(node, slider);
  const parts = rows.map(({ label }, i) => labelled(say(label), lists[i]));
  const element = el("div", { class: "p2p-picker" }, ...parts, weight?.element);

  const refresh = () => {
    rows.forEach((row, i) => drawWords(node, row, lists[i]));
    weight?.refresh();
  };
  const height = () => {
    const texts = rows.map((row) => textsOf(offerOf(node, row)));
    return heightOfRows(texts, node) + (weight ? LINE + 4 : 0);
  };
  addView(node, { name: "word picker", width: 300, element, height, refresh });
}

/**
 * What a row offers: the names of its words, which of them are chosen, and phrases that are none of them; or
 * instead of the words, why there are none to be known.
 */
function offerOf(node, { input, from }) {
  const prompts = promptsOf(node);
  const { source, edits = [] } = prompts ?? {};
  const known = { source: [source], edits, both: [source, ...edits] }[from].filter(Boolean);
  const why = say(prompts ? "queue once to see its words" : NO_EDIT);
  const phrases = splitPhrases(String(inputOf(node, input) ?? ""));
  const names = namesOf(known);
  const covers = phrases.map((phrase) => coverOf(phrase, known, names));
  return {
    why: known.length ? null : why,
    names: [...names.keys()],
    phrases,
    covers,
    chosen: covers.flat(),
    others: phrases.filter((_, i) => !covers[i].length),
  };
}

const textsOf = ({ why, names, others }) => (why ? [why] : [...names, ...others]);

function drawWords(node, row, list) {
  const offer = offerOf(node, row);
  const locked = isConnected(node, row.input);
  show(list, [offer, locked], () => {
    if (offer.why) return [el("span", { class: "p2p-status", text: offer.why })];
    const words = offer.names.map((name) =>
      toggle(name, {
        pressed: offer.chosen.includes(name),
        disabled: locked,
        title: locked ? say("{input} is set by a connected input", { input: row.input }) : null,
        onclick: () => flip(node, row, name),
      }),
    );
    return [...words, ...offer.others.map((phrase) => strayChip(node, row, phrase, locked))];
  });
  roving(list);
}

/** The chip of a phrase that is none of the words. */
function strayChip(node, row, phrase, locked) {
  const isNumber = isTokenNumber(phrase);
  const chip = toggle(phrase, {
    pressed: true,
    disabled: locked,
    label: say(isNumber ? "token {number}" : "{words}, not in the prompt", { number: phrase, words: phrase }),
    title: say(isNumber ? "A token by its number. Click to remove." : "Not a word of the prompt. Click to remove."),
    onclick: () => drop(node, row, phrase),
  });
  chip.classList.toggle("p2p-missing", !isNumber);
  return chip;
}

/** Choose a word or let go of it; a phrase that held more words leaves the others behind. */
function flip(node, row, name) {
  const { phrases, covers, chosen } = offerOf(node, row);
  if (!chosen.includes(name)) return write(node, row, [...phrases, name]);
  const left = phrases.flatMap((phrase, i) =>
    covers[i].includes(name) ? covers[i].filter((other) => other !== name) : [phrase],
  );
  return write(node, row, [...new Set(left)]);
}

function drop(node, row, phrase) {
  const left = offerOf(node, row).phrases.filter((other) => other !== phrase);
  write(node, row, left);
}

function write(node, { input }, phrases) {
  setInput(node, input, phrases.join(", "));
  recordChange();
  refreshViews();
}

/** A slider for a number input. The input goes farther than the slider, and stays where it is if it does. */
function weightSlider(node, { input, min, max, step, neutral, label }) {
  const range = el("input", { type: "range", class: "p2p-range", min, max, step, "aria-label": say(label), list: null });
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
  range.title = say("Double-click for {value}", { value: neutral });
  const element = labelled(say(label), range, value);
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
