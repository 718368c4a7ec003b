/**
 * Schedule editor on AttentionInjectSchedule: a bar for each window over the steps, drawn as the strength falls.
 *
 * Bars are dragged by their ends or as a whole, or moved with the keyboard. They write the node's own number
 * and text inputs and are drawn from them.
 */
import { el, onDrag, show, svg } from "./draw.js";
import { addView, recordChange, refreshViews, setInput } from "./host.js";
import { namesOf, wordsOf } from "./prompts.js";
import { inputOf, isConnected, promptsOf, stepsAfter } from "./upstream.js";

const ROW = 24;
const AROUND = 20 + 18 + 28; // readout, axis, the choice of a word
const LINE = /^(.+?)\s*[:=]\s*([\d.]+)\s*(?:-|–|to)\s*([\d.]+)$/;

export function addScheduleEditor(node) {
  const readout = el("div", { class: "p2p-status", role: "status" });
  const rows = el("div", { class: "p2p-rows" });
  const axis = el("div", { class: "p2p-axis", "aria-hidden": "true" });
  const choice = el("select", { class: "p2p-select", "aria-label": "Add a window for a word", onchange: addWord });
  const element = el("div", { class: "p2p-schedule", role: "group", "aria-label": "Injection schedule" }, readout, rows, axis, choice);

  let steps;
  let held = null; // the bar under way or in focus, whose numbers the readout says

  function addWord() {
    const lines = textOf(node);
    const [start, end] = [inputOf(node, "cross_start") ?? 0, inputOf(node, "cross_end") ?? 0.8];
    setInput(node, "word_windows", [...lines.filter((l, i) => l.trim() || i < lines.length - 1), lineOf(choice.value, start, end)].join("\n").trim());
    recordChange();
    refreshViews();
  }

  function refresh() {
    steps = stepsAfter(node);
    const bars = barsOf(node);
    const ramp = inputOf(node, "ramp") ?? "constant";
    // While a bar is held its elements stay; a bar more or less makes new ones.
    show(rows, bars.map((bar) => [bar.key, bar.label, bar.locked, bar.error]), () => bars.map((bar) => rowOf(bar)));
    bars.forEach((bar, i) => rows.children[i].p2pDraw(bar, ramp));
    drawAxis(axis, steps);
    drawChoice();
    say(bars.find((bar) => bar.key === held));
  }

  function drawChoice() {
    const edits = promptsOf(node)?.edits.filter((text) => text !== undefined) ?? [];
    const taken = new Set(barsOf(node).map((bar) => bar.label));
    const words = [...namesOf(edits.map(wordsOf)).keys()].filter((word) => !taken.has(word));
    const locked = isConnected(node, "word_windows");
    show(choice, [words, locked], () => [
      el("option", { value: "", text: words.length ? "+ a word's own window" : "no words: connect an edit" }),
      ...words.map((word) => el("option", { value: word, text: word })),
    ]);
    choice.value = "";
    choice.disabled = locked || !words.length;
  }

  function say(bar) {
    const nothing = `The source's attention over the ${steps ? `${steps} steps` : "steps"}`;
    const said = bar && `${bar.label} ${number(bar.start)} – ${number(bar.end)}${inSteps(bar, steps)}`;
    readout.textContent = bar && !bar.error ? said : nothing;
  }

  function rowOf({ key, label, locked, error }) {
    if (error) {
      return plain(el("div", { class: "p2p-row p2p-error", role: "alert" }, el("span", { class: "p2p-label", text: "!" }), el("span", { text: `'${label}' is not of the form 'dog: 0.0-0.3'` })));
    }
    const track = el("div", { class: "p2p-lane" });
    const shape = svg("path", {});
    const drawing = svg("svg", { class: "p2p-ramp", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, shape);
    const handle = (part, name) =>
      el("div", {
        class: `p2p-handle p2p-${part}`,
        role: "slider",
        tabindex: locked[part] ? -1 : 0,
        "data-key": `${key} ${part}`,
        "aria-label": `${label}, ${name}`,
        "aria-valuemin": 0,
        "aria-valuemax": 1,
        "aria-disabled": locked[part] ? "true" : null,
        title: locked[part] ? "Set by a connected input" : null,
      });
    const parts = { whole: handle("whole", "whole window"), start: handle("start", "start"), end: handle("end", "end") };
    const bar = el("div", { class: "p2p-bar" }, drawing, parts.whole, parts.start, parts.end);
    track.append(bar);
    const isWord = key.startsWith("word");
    const remove = isWord && !locked.whole && el("button", { type: "button", class: "p2p-remove", "aria-label": `Remove the window of ${label}`, title: "Remove this window", text: "×", onclick: () => drop(key) });
    const row = el("div", { class: `p2p-row p2p-row-${isWord ? "word" : key}`, "data-row": label }, el("span", { class: "p2p-label", text: label, title: label }), track, remove || el("span"));

    let now;
    let begun;
    const change = (part, by) => {
      const [start, end] = moved(begun ?? now, part, by);
      write(key, part === "end" ? undefined : start, part === "start" ? undefined : end);
    };
    for (const [part, element] of Object.entries(parts)) {
      if (locked[part]) continue;
      onDrag(element, track, {
        begin: () => {
          begun = now;
          held = key;
        },
        move: (from, by) => change(part, by),
        done: () => {
          begun = undefined;
          recordChange();
        },
      });
      element.addEventListener("keydown", (event) => {
        const far = { PageUp: 0.1, PageDown: -0.1, Home: -1, End: 1 };
        const near = { ArrowRight: 0.01, ArrowUp: 0.01, ArrowLeft: -0.01, ArrowDown: -0.01 };
        const by = far[event.key] ?? near[event.key] * (event.shiftKey ? 10 : 1);
        if (isWord && (event.key === "Delete" || event.key === "Backspace")) return drop(key);
        if (!by) return;
        event.preventDefault();
        change(part, by);
        recordChange();
      });
      element.addEventListener("focus", () => say(now, (held = key)));
      element.addEventListener("pointerenter", () => begun ?? say(now, (held = key)));
      element.addEventListener("blur", () => (held = null, refreshViews()));
    }
    row.p2pDraw = (bar, ramp) => {
      now = bar;
      draw({ row, track, shape, parts, bar, ramp, steps });
    };
    return row;
  }

  function write(key, start, end) {
    if (!key.startsWith("word")) {
      if (start !== undefined) setInput(node, `${key}_start`, start);
      if (end !== undefined) setInput(node, `${key}_end`, end);
    } else {
      const lines = textOf(node);
      const i = Number(key.slice(5));
      const [, words, oldStart, oldEnd] = LINE.exec(lines[i].trim());
      lines[i] = lineOf(words, start ?? Number(oldStart), end ?? Number(oldEnd));
      setInput(node, "word_windows", lines.join("\n"));
    }
    refreshViews();
  }

  function drop(key) {
    const lines = textOf(node);
    lines.splice(Number(key.slice(5)), 1);
    setInput(node, "word_windows", lines.join("\n"));
    recordChange();
    refreshViews();
    choice.focus({ preventScroll: true }); // what had the focus is gone
  }

  addView(node, { name: "schedule editor", width: 340, element, height: () => AROUND + ROW * barsOf(node).length, refresh });
}

/** The windows that the inputs say, in order: { key, label, start, end, strength, locked, error }. */
function barsOf(node) {
  const bars = ["cross", "self"].map((key) => {
    const [start, end] = [inputOf(node, `${key}_start`), inputOf(node, `${key}_end`)];
    const locked = { start: isConnected(node, `${key}_start`), end: isConnected(node, `${key}_end`) };
    locked.whole = locked.start || locked.end;
    return { key, label: key, start, end, strength: inputOf(node, `${key}_strength`) ?? 1, locked };
  });
  const connected = isConnected(node, "word_windows");
  const locked = { start: connected, end: connected, whole: connected };
  textOf(node).forEach((line, i) => {
    if (!line.trim()) return;
    const [, label, start, end] = LINE.exec(line.trim()) ?? [];
    const bar = { key: `word ${i}`, label: label ?? line.trim(), start: Number(start), end: Number(end), strength: bars[0].strength, locked };
    bars.push({ ...bar, error: !label || Number.isNaN(bar.start + bar.end) });
  });
  return bars;
}

const textOf = (node) => String(inputOf(node, "word_windows") ?? "").split("\n");

const lineOf = (words, start, end) => `${words}: ${number(start)}-${number(end)}`;

const number = (value) => (value === undefined ? "?" : String(Math.round(value * 1000) / 1000));

const plain = (row) => Object.assign(row, { p2pDraw() {} });

/** A window moved by one of its parts, within [0, 1] and with its start before its end. */
function moved({ start = 0, end = 1 }, part, by) {
  const round = (value) => Math.round(value * 100) / 100;
  const within = (value, low, high) => Math.min(Math.max(value, low), high);
  if (part === "start") return [within(round(start + by), 0, end), end];
  if (part === "end") return [start, within(round(end + by), start, 1)];
  const shift = within(by, -start, 1 - end);
  return [round(start + shift), round(end + shift)];
}

/** ", steps 1 to 24 of 30", as Window.holds in p2p_core/schedule.py counts them. */
function inSteps({ start, end }, steps) {
  if (!steps || !(start <= end)) return "";
  const first = Math.ceil(Math.round(start * steps * 1e6) / 1e6);
  const last = Math.ceil(Math.round(end * steps * 1e6) / 1e6);
  return last > first ? `: steps ${first + 1} to ${last} of ${steps}` : `: none of ${steps} steps`;
}

function draw({ row, track, shape, parts, bar, ramp, steps }) {
  const { start = 0, end = 1, strength } = bar;
  const unknown = bar.start === undefined || bar.end === undefined;
  const wrong = !(start <= end && start >= 0 && end <= 1);
  row.classList.toggle("p2p-wrong", wrong);
  row.classList.toggle("p2p-unknown", unknown);
  track.firstChild.style.left = `${100 * start}%`;
  track.firstChild.style.width = `${100 * Math.max(end - start, 0)}%`;
  shape.setAttribute("d", rampPath(ramp, strength));
  for (const [part, value] of [["start", start], ["end", end], ["whole", start]]) {
    const text = part === "whole" ? `${number(start)} to ${number(end)}` : number(value);
    parts[part].setAttribute("aria-valuenow", number(value));
    parts[part].setAttribute("aria-valuetext", wrong ? `${text}, start after end` : `${text}${inSteps(bar, steps)}`);
  }
}

/** The strength over the window in a box of 100 x 100. */
function rampPath(ramp, strength) {
  const height = Math.min(Math.max(Number(strength) || 0, 0), 1) * 100;
  const at = { constant: () => 1, linear: (t) => 1 - t, cosine: (t) => (1 + Math.cos(Math.PI * t)) / 2 }[ramp] ?? (() => 1);
  const points = Array.from({ length: 33 }, (_, i) => `${(i * 100) / 32},${100 - height * at(i / 32)}`);
  return `M0,100 L${points.join(" ")} L100,100 Z`;
}

function drawAxis(axis, steps) {
  const marks = [0, 0.25, 0.5, 0.75, 1];
  show(axis, [steps], () => {
    const lane = el("div", { class: "p2p-lane" }, ...marks.map((t) => el("span", { style: `left: ${100 * t}%`, text: steps ? Math.round(t * steps) : t })));
    return [el("span", { class: "p2p-label", text: steps ? "step" : "part" }), lane, el("span")];
  });
}
