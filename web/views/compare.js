/**
 * Compare view on P2PCompare: source and edit under one slider, a tab for each edit, and each word's heat map.
 *
 * Drawn from the node's result alone (nodes/compare.py says what it holds). Pointing at a word lays its map
 * over the pictures; a click keeps it there.
 */
import { el, heightOfRows, keyStep, labelled, LINE, onDrag, roving, show, toggle, wordList } from "../draw.js";
import { addView, refreshViews } from "../host.js";
import { say } from "../language.js";
import { outputsOf, pictureUrl, reportsOf } from "../runs.js";

const STAGE = 240;
const GAP = 4;

export function addCompareView(node) {
  // What the user looks at: nothing that a workflow should remember.
  const looking = { edit: 0, image: 0, at: 0.5, kept: null, over: null };
  const choose = (change) => {
    Object.assign(looking, change);
    refreshViews();
  };
  const [head, stage, words] = [addHead, addStage, addWords].map((add) => add(looking, choose));
  const element = el(
    "div",
    { class: "p2p-compare", role: "group", "aria-label": say("Comparison of source and edit") },
    head.element,
    stage.element,
    words.element,
  );

  const refresh = () => {
    const result = resultOf(node);
    element.classList.toggle("p2p-empty", !result);
    stage.element.setAttribute("data-hint", result ? "" : say("Run the workflow to compare source and edit"));
    if (!result) return;
    looking.edit = Math.min(looking.edit, result.edits - 1);
    looking.image = Math.min(looking.image, result.batch - 1);
    for (const part of [head, stage, words]) part.refresh(result);
  };
  const height = () => {
    const result = resultOf(node);
    if (!result) return STAGE;
    const texts = rowsOf(result, looking.edit).map(({ chips }) => chips.map(({ text }) => text));
    return STAGE + (hasHead(result) ? LINE + GAP : 0) + GAP + heightOfRows(texts, node);
  };
  addView(node, { name: "compare view", width: 340, element, height, refresh });
}

// -- results ----------------------------------------------------------------------------------------

/** The node's result, with how many edits of how many pictures it is; null without one. */
function resultOf(node) {
  const report = reportsOf(node, "p2p_compare")[0] ?? reportOfOld(outputsOf(node)[0]);
  if (!report?.source?.length || !report.edited?.length) return null;
  const batch = report.source.length;
  const empty = { heat: [], prompts: [], difference: [] };
  return { ...empty, ...report, batch, edits: Math.max(1, Math.floor(report.edited.length / batch)) };
}

/** A report of version 0.1, which a workflow may still carry: each of its lists under a name of its own. */
function reportOfOld(output) {
  const named = Object.entries(output ?? {}).map(([name, value]) => [name.replace(/^p2p_/, ""), value]);
  return Object.fromEntries(named);
}

const hasHead = ({ edits, batch }) => edits > 1 || batch > 1;

/** Rows of chips: the words that have a map, of the source and of an edit, and the difference. */
function rowsOf({ heat, prompts, difference }, edit) {
  const chipsOf = (p) =>
    (prompts[p]?.words ?? [])
      .map(({ text, changed }, w) => ({
        text,
        changed: Boolean(changed),
        key: `${p} ${w}`,
        title: say("Where '{word}' is", { word: text }),
      }))
      .filter((_, w) => heat.some((entry) => entry.prompt === p && entry.word === w));
  const more = difference.length
    ? [{ text: say("difference"), changed: false, key: "difference", title: say("Where source and edit differ") }]
    : [];
  return [
    { name: say("source"), chips: chipsOf(0) },
    { name: edit ? say("edit {number}", { number: edit + 1 }) : say("edit"), chips: chipsOf(edit + 1) },
    { name: say("pictures"), chips: more },
  ].filter(({ chips }) => chips.length);
}

/** The picture that a chip stands for. */
function laidOver(result, key, { edit, image }) {
  if (!key) return null;
  if (key === "difference") {
    const file = result.difference[edit * result.batch + image];
    return { file, alt: say("Where source and edit differ") };
  }
  const [prompt, word] = key.split(" ").map(Number);
  const found = result.heat.find(
    (entry) => entry.prompt === prompt && entry.word === word && entry.image === image,
  );
  return found && { file: found.file, alt: say("Where '{word}' is", { word: result.prompts[prompt].words[word].text }) };
}

// -- parts: each an element and its refresh(result) -------------------------------------------------

/** A tab for each edit, and a choice of the picture of a batch. */
function addHead(looking, choose) {
  const tabs = el("div", { class: "p2p-tabs", role: "tablist", "aria-label": say("Edits") });
  const batch = el("select", {
    class: "p2p-select",
    "aria-label": say("Picture of the batch"),
    onchange: () => choose({ image: Number(batch.value) }),
  });
  const element = el("div", { class: "p2p-compare-head" }, tabs, batch);
  const range = (length) => Array.from({ length }, (_, i) => i);
  const tab = (i) =>
    el("button", {
      type: "button",
      role: "tab",
      class: "p2p-chip p2p-tab",
      "data-key": `edit ${i}`,
      text: say("edit {number}", { number: i + 1 }),
      onclick: () => choose({ edit: i, kept: null }),
    });

  const refresh = (result) => {
    const { edits, batch: images } = result;
    show(tabs, edits, () => range(edits).map(tab));
    [...tabs.children].forEach((tab, i) => tab.setAttribute("aria-selected", String(i === looking.edit)));
    roving(tabs);
    tabs.hidden = edits < 2;
    const option = (i) => el("option", { value: i, text: say("picture {number} of {count}", { number: i + 1, count: images }) });
    show(batch, images, () => range(images).map(option));
    batch.value = looking.image;
    batch.hidden = images < 2;
    element.hidden = !hasHead(result);
  };
  return { element, refresh };
}

/** Source and edit in one place with a divider between them, and a map over both. */
function addStage(looking, choose) {
  const picture = (name) => el("img", { class: `p2p-picture p2p-of-${name}`, draggable: "false", alt: "" });
  const [source, edited, heat] = ["source", "edit", "heat"].map(picture);
  const divider = el("div", {
    class: "p2p-divider",
    role: "slider",
    tabindex: 0,
    "aria-label": say("Divider between source, on its left, and edit"),
    "aria-valuemin": 0,
    "aria-valuemax": 100,
  });
  const side = (name, text) => el("span", { class: `p2p-side p2p-${name}`, text });
  const sides = [side("left", say("source")), side("right", say("edit"))];
  const frame = el("div", { class: "p2p-frame" }, source, edited, heat, divider, ...sides);
  const element = el("div", { class: "p2p-stage", role: "tabpanel", "aria-label": say("Source and edit") }, frame);
  letSlide(frame, divider, looking, choose);
  // The frame has the picture's proportions, so that the slider's place is the picture's.
  source.addEventListener("load", () =>
    frame.style.setProperty("--p2p-aspect", source.naturalWidth / source.naturalHeight),
  );

  const refresh = (result) => {
    const { edit, image, at, over, kept } = looking;
    setPicture(source, result.source[image], say("The source picture"));
    setPicture(edited, result.edited[edit * result.batch + image], say("edit {number}", { number: edit + 1 }));
    edited.style.clipPath = `inset(0 0 0 ${100 * at}%)`;
    divider.style.left = `${100 * at}%`;
    divider.setAttribute("aria-valuenow", Math.round(100 * at));
    divider.setAttribute("aria-valuetext", say("{percent} % source", { percent: Math.round(100 * at) }));
    const laid = laidOver(result, over ?? kept, looking);
    heat.hidden = !laid;
    if (laid) setPicture(heat, laid.file, laid.alt);
  };
  return { element, refresh };
}

/** Move the divider by hand or by keys. */
function letSlide(frame, divider, looking, choose) {
  const slide = (at) => choose({ at: Math.min(Math.max(at, 0), 1) });
  onDrag(divider, frame, { move: (from, by) => slide(from + by) });
  // Anywhere on the picture will do.
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target === divider) return;
    const box = frame.getBoundingClientRect();
    slide((event.clientX - box.left) / box.width);
    divider.dispatchEvent(new PointerEvent("pointerdown", event));
  });
  divider.addEventListener("keydown", (event) => {
    const by = keyStep(event, 0.02);
    if (!by) return;
    event.preventDefault();
    slide(looking.at + by);
  });
}

/** A row of chips for the source, the edit and the pictures: each lays something over the stage. */
function addWords(looking, choose) {
  const element = el("div", { class: "p2p-heat-words" });
  const chipOf = ({ text, key, changed, title }) => {
    const keep = () => choose({ kept: looking.kept === key ? null : key, over: null });
    const chip = toggle(text, { key, title, onclick: keep });
    chip.classList.toggle("p2p-changed", changed);
    for (const name of ["pointerenter", "focus"]) chip.addEventListener(name, () => choose({ over: key }));
    for (const name of ["pointerleave", "blur"]) chip.addEventListener(name, () => choose({ over: null }));
    return chip;
  };
  const rowOf = ({ name, chips }) =>
    labelled(name, wordList({ "aria-label": say("{words}: show where it is", { words: name }) }, ...chips.map(chipOf)));

  const refresh = (result) => {
    const rows = rowsOf(result, looking.edit);
    show(element, [rows, looking.edit], () => rows.map(rowOf));
    for (const chip of element.querySelectorAll("[data-key]"))
      chip.setAttribute("aria-pressed", String(chip.dataset.key === looking.kept));
    for (const list of element.querySelectorAll(".p2p-words")) roving(list);
  };
  return { element, refresh };
}

function setPicture(img, file, alt) {
  const url = file ? pictureUrl(file) : "";
  if (img.getAttribute("src") !== url) img.setAttribute("src", url);
  img.alt = alt;
}
