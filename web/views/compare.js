/**
 * Compare view on P2PCompare: source and edit under one slider, a tab for each edit, and each word's heat map.
 *
 * Drawn from the node's result alone (nodes/compare.py says what it holds). Pointing at a word lays its map
 * over the pictures; a click keeps it there.
 */
import { el, linesOf, onDrag, roving, show, toggle } from "../draw.js";
import { addView, outputsOf, pictureUrl, refreshViews } from "../host.js";

const STAGE = 240;
const LINE = 26;
const LABEL = 62;

export function addCompareView(node) {
  const tabs = el("div", { class: "p2p-tabs", role: "tablist", "aria-label": "Edits" });
  const batch = el("select", {
    class: "p2p-select",
    "aria-label": "Picture of the batch",
    onchange: () => choose({ image: Number(batch.value) }),
  });
  const picture = (name) => el("img", { class: `p2p-picture p2p-${name}`, draggable: "false", alt: "" });
  const [source, edited, heat] = ["of-source", "of-edit", "of-heat"].map(picture);
  const divider = el("div", {
    class: "p2p-divider",
    role: "slider",
    tabindex: 0,
    "aria-label": "Divider between source, on its left, and edit",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
  });
  const frame = el(
    "div",
    { class: "p2p-frame" },
    source,
    edited,
    heat,
    divider,
    el("span", { class: "p2p-side p2p-left", text: "source" }),
    el("span", { class: "p2p-side p2p-right", text: "edit" }),
  );
  const stage = el("div", { class: "p2p-stage", role: "tabpanel", "aria-label": "Source and edit" }, frame);
  const head = el("div", { class: "p2p-compare-head" }, tabs, batch);
  const words = el("div", { class: "p2p-heat-words" });
  const element = el(
    "div",
    { class: "p2p-compare", role: "group", "aria-label": "Comparison of source and edit" },
    head,
    stage,
    words,
  );

  // What the user looks at: nothing that a workflow should remember.
  const looking = { edit: 0, image: 0, at: 0.5, kept: null, over: null };
  const choose = (change) => {
    Object.assign(looking, change);
    refreshViews();
  };

  const slide = (at) => choose({ at: Math.min(Math.max(at, 0), 1) });
  onDrag(divider, frame, { begin: () => {}, move: (from, by) => slide(from + by) });
  // Anywhere on the picture will do.
  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target === divider) return;
    const box = frame.getBoundingClientRect();
    slide((event.clientX - box.left) / box.width);
    divider.dispatchEvent(new PointerEvent("pointerdown", event));
  });
  divider.addEventListener("keydown", (event) => {
    const by = {
      ArrowRight: 0.02,
      ArrowUp: 0.02,
      ArrowLeft: -0.02,
      ArrowDown: -0.02,
      PageUp: 0.1,
      PageDown: -0.1,
      Home: -1,
      End: 1,
    };
    if (!(event.key in by)) return;
    event.preventDefault();
    slide(looking.at + by[event.key]);
  });

  function refresh() {
    const result = resultOf(node);
    element.classList.toggle("p2p-empty", !result);
    stage.setAttribute("data-hint", result ? "" : "Run the workflow to compare source and edit");
    if (!result) return;
    const { batch: images, edits } = result;
    looking.edit = Math.min(looking.edit, edits - 1);
    looking.image = Math.min(looking.image, images - 1);
    drawTabs(edits);
    show(batch, images, () =>
      Array.from({ length: images }, (_, i) => el("option", { value: i, text: `picture ${i + 1} of ${images}` })),
    );
    batch.value = looking.image;
    batch.hidden = images < 2;
    head.hidden = images < 2 && edits < 2;

    const place = looking.edit * images + looking.image;
    setPicture(source, result.p2p_source[looking.image], "The source picture");
    setPicture(edited, result.p2p_edited[place], `Edit ${looking.edit + 1}`);
    edited.style.clipPath = `inset(0 0 0 ${100 * looking.at}%)`;
    divider.style.left = `${100 * looking.at}%`;
    divider.setAttribute("aria-valuenow", Math.round(100 * looking.at));
    divider.setAttribute("aria-valuetext", `${Math.round(100 * looking.at)} % source`);

    drawWords(result);
    const laid = laidOver(result, looking.over ?? looking.kept);
    heat.hidden = !laid;
    if (laid) setPicture(heat, laid.file, laid.alt);
    heat.classList.toggle("p2p-whole-cover", laid?.opaque === true);
  }

  function drawTabs(edits) {
    show(tabs, edits, () =>
      Array.from({ length: edits }, (_, i) =>
        el("button", {
          type: "button",
          role: "tab",
          class: "p2p-chip p2p-tab",
          "data-key": `edit ${i}`,
          text: `edit ${i + 1}`,
          onclick: () => choose({ edit: i, kept: null }),
        }),
      ),
    );
    [...tabs.children].forEach((tab, i) => tab.setAttribute("aria-selected", String(i === looking.edit)));
    roving(tabs);
    tabs.hidden = edits < 2;
  }

  function drawWords(result) {
    const rows = rowsOf(result, looking.edit);
    show(words, [rows, looking.edit], () =>
      rows.map(({ label, chips }) => {
        const list = el("div", { class: "p2p-words", role: "toolbar", "aria-label": `${label}: show where it is` });
        for (const { text, key, changed, title } of chips) {
          const chip = toggle(text, {
            key,
            title,
            onclick: () => choose({ kept: looking.kept === key ? null : key, over: null }),
          });
          chip.classList.toggle("p2p-changed", changed);
          for (const name of ["pointerenter", "focus"]) chip.addEventListener(name, () => choose({ over: key }));
          for (const name of ["pointerleave", "blur"]) chip.addEventListener(name, () => choose({ over: null }));
          list.append(chip);
        }
        return el(
          "div",
          { class: "p2p-word-row" },
          el("span", { class: "p2p-label", text: label, title: label }),
          list,
        );
      }),
    );
    for (const chip of words.querySelectorAll("[data-key]"))
      chip.setAttribute("aria-pressed", String(chip.dataset.key === looking.kept));
    for (const list of words.querySelectorAll(".p2p-words")) roving(list);
  }

  /** The picture that a chip stands for. */
  function laidOver(result, key) {
    if (!key) return null;
    if (key === "difference") {
      const file = result.p2p_difference[looking.edit * result.batch + looking.image];
      return { file, alt: "Where source and edit differ", opaque: true };
    }
    const [prompt, word] = key.split(" ").map(Number);
    const found = result.p2p_heat.find(
      (entry) => entry.prompt === prompt && entry.word === word && entry.image === looking.image,
    );
    return found && { file: found.file, alt: `Where '${result.p2p_prompts[prompt].words[word].text}' is` };
  }

  // The frame has the picture's proportions, so that the slider's place is the picture's.
  source.addEventListener("load", () =>
    frame.style.setProperty("--p2p-aspect", source.naturalWidth / source.naturalHeight),
  );

  const height = () => {
    const result = resultOf(node);
    if (!result) return STAGE;
    const width = node.size[0] - LABEL - 30;
    const lines = rowsOf(result, looking.edit).map(({ chips }) =>
      Math.min(
        linesOf(
          chips.map(({ text }) => text),
          width,
        ),
        5,
      ),
    );
    const head = result.edits > 1 || result.batch > 1 ? LINE + 4 : 0;
    return STAGE + head + 4 + LINE * lines.reduce((sum, n) => sum + n, 0);
  };
  addView(node, { name: "compare view", width: 340, element, height, refresh });
}

/** The node's result, with how many edits of how many pictures it is; null without one. */
function resultOf(node) {
  const [output] = outputsOf(node);
  if (!output?.p2p_source?.length || !output.p2p_edited?.length) return null;
  const batch = output.p2p_source.length;
  const empty = { p2p_heat: [], p2p_prompts: [], p2p_difference: [] };
  return { ...empty, ...output, batch, edits: Math.max(1, Math.floor(output.p2p_edited.length / batch)) };
}

/** Rows of chips: the words that have a map, of the source and of an edit, and the difference. */
function rowsOf({ p2p_heat, p2p_prompts, p2p_difference }, edit) {
  const chipsOf = (p) =>
    (p2p_prompts[p]?.words ?? [])
      .map(({ text, changed }, w) => ({
        text,
        changed: Boolean(changed),
        key: `${p} ${w}`,
        title: `Where '${text}' is`,
      }))
      .filter((_, w) => p2p_heat.some((entry) => entry.prompt === p && entry.word === w));
  const more = p2p_difference.length
    ? [{ text: "difference", changed: false, key: "difference", title: "Where source and edit differ" }]
    : [];
  return [
    { label: "source", chips: chipsOf(0) },
    { label: `edit${edit ? ` ${edit + 1}` : ""}`, chips: chipsOf(edit + 1) },
    { label: "pictures", chips: more },
  ].filter(({ chips }) => chips.length);
}

function setPicture(img, file, alt) {
  const url = file ? pictureUrl(file) : "";
  if (img.getAttribute("src") !== url) img.setAttribute("src", url);
  img.alt = alt;
}
