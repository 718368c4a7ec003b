/**
 * Schedule editor on AttentionInjectSchedule: a bar for each window over the steps, drawn as the strength falls.
 *
 * Bars are dragged by their ends or as a whole, or moved with the keyboard. They write the node's own number
 * and text inputs and are drawn from them.
 */
import { el, keyStep, label, onDrag, show, svg } from "../draw.js";
import { addView, recordChange, refreshViews } from "../host.js";
import { say } from "../language.js";
import { namesOf } from "../prompts.js";
import { inputOf, isConnected, promptsOf, stepsAfter } from "../upstream.js";
import {
  addWordWindow,
  inSteps,
  isWord,
  isWrong,
  moved,
  number,
  PRESETS,
  presetOf,
  rampAt,
  removeWordWindow,
  windowsOf,
  writePreset,
  writeWindow,
} from "../windows.js";

const ROW = 24;
const AROUND = 20 + 18 + 28; // readout, axis, the choice of a word

export function addScheduleEditor(node) {
  const editor = new ScheduleEditor(node);
  addView(node, {
    name: "schedule editor",
    width: 340,
    element: editor.element,
    height: () => AROUND + ROW * windowsOf(node).length,
    refresh: () => editor.refresh(),
  });
}

class ScheduleEditor {
  held = null; // key of the window under way or in focus, whose numbers the readout says
  rows = [];

  constructor(node) {
    this.node = node;
    this.readout = el("div", { class: "p2p-status", "aria-hidden": "true" }); // the handles say it themselves
    this.list = el("div", { class: "p2p-rows" });
    this.axis = el("div", { class: "p2p-axis", "aria-hidden": "true" });
    this.preset = el("select", {
      class: "p2p-select p2p-preset",
      "aria-label": say("Windows for a kind of edit"),
      onchange: () => this.choosePreset(),
    });
    this.choice = el("select", {
      class: "p2p-select p2p-word-choice",
      "aria-label": say("Add a window for a word"),
      onchange: () => this.addWord(),
    });
    this.element = el(
      "div",
      { class: "p2p-schedule", role: "group", "aria-label": say("Injection schedule") },
      this.readout,
      this.list,
      this.axis,
      el("div", { class: "p2p-choices" }, this.preset, this.choice),
    );
  }

  refresh() {
    this.steps = stepsAfter(this.node);
    const windows = windowsOf(this.node);
    const ramp = inputOf(this.node, "ramp") ?? "constant";
    // While a bar is held its elements stay; a window more or less makes new ones.
    const shown = windows.map(({ key, label, locked, error }) => [key, label, locked, error]);
    show(this.list, shown, () => {
      this.rows = windows.map((window) => (window.error ? new WrongRow(window) : new Row(this, window)));
      return this.rows.map((row) => row.element);
    });
    windows.forEach((window, i) => this.rows[i].draw(window, ramp, this.steps));
    drawAxis(this.axis, this.steps);
    this.drawPresets(windows);
    this.drawChoice(windows);
    this.say(windows.find((window) => window.key === this.held));
  }

  drawPresets([cross, self]) {
    const locked = cross.locked.whole || self.locked.whole;
    show(this.preset, [locked], () => [
      el("option", { value: "", text: say("windows for ...") }),
      ...Object.entries(PRESETS).map(([name, [crossEnd, selfEnd]]) =>
        el("option", { value: name, text: `${say(name)}: ${crossEnd}, ${selfEnd}` }),
      ),
    ]);
    this.preset.value = presetOf(this.node);
    this.preset.disabled = locked;
  }

  choosePreset() {
    if (!this.preset.value) return;
    writePreset(this.node, this.preset.value);
    recordChange();
    refreshViews();
  }

  drawChoice(windows) {
    const prompts = promptsOf(this.node);
    const known = prompts?.edits.filter(Boolean) ?? [];
    const taken = new Set(windows.map((window) => window.label));
    const words = [...namesOf(known).keys()].filter((word) => !taken.has(word));
    const why = say(!prompts ? "no words: connect an edit" : known.length ? "no more words" : "no words yet: queue once");
    show(this.choice, [words, why], () => [
      el("option", { value: "", text: words.length ? say("+ a word's own window") : why }),
      ...words.map((word) => el("option", { value: word, text: word })),
    ]);
    this.choice.value = "";
    this.choice.disabled = isConnected(this.node, "word_windows") || !words.length;
  }

  addWord() {
    if (!this.choice.value) return;
    addWordWindow(this.node, this.choice.value);
    recordChange();
    refreshViews();
  }

  drop(key) {
    removeWordWindow(this.node, key);
    recordChange();
    refreshViews();
    this.choice.focus({ preventScroll: true }); // what had the focus is gone
  }

  hold(key) {
    this.held = key;
    this.say(windowsOf(this.node).find((window) => window.key === key));
  }

  say(window) {
    const { steps } = this;
    const nothing = say(steps ? "The source's attention over the {steps} steps" : "The source's attention over the steps", { steps });
    const ends = window && `${number(window.start)} – ${number(window.end)}`;
    this.readout.textContent =
      window && !window.error ? `${window.label} ${ends}${inSteps(window, this.steps)}` : nothing;
  }
}

/** A line of word_windows that can't be read. */
class WrongRow {
  constructor({ label }) {
    this.element = el(
      "div",
      { class: "p2p-row p2p-error", role: "alert" },
      el("span", { class: "p2p-label", text: "!" }),
      el("span", { text: say("'{line}' is not of the form 'dog: 0.0-0.3'", { line: label }) }),
    );
  }

  draw() {}
}

/** A window's label, its bar with a handle at each end and one over the whole, and a button that removes it. */
class Row {
  begun = null; // the window as it was when a drag began

  constructor(editor, window) {
    Object.assign(this, { editor, key: window.key, window });
    const { key, label: name, locked } = window;
    this.shape = svg("path", {});
    const box = { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" };
    const drawing = svg("svg", { class: "p2p-ramp", ...box }, this.shape);
    this.handles = {
      whole: handleOf(window, "whole", say("whole window")),
      start: handleOf(window, "start", say("start")),
      end: handleOf(window, "end", say("end")),
    };
    this.bar = el("div", { class: "p2p-bar" }, drawing, ...Object.values(this.handles));
    this.lane = el("div", { class: "p2p-lane" }, this.bar);
    const isRemovable = isWord(key) && !locked.whole;
    this.element = el(
      "div",
      { class: `p2p-row p2p-row-${isWord(key) ? "word" : key}`, "data-row": name },
      label(isWord(key) ? name : say(name)),
      this.lane,
      isRemovable ? removeButton(name, () => editor.drop(key)) : el("span"),
    );
    for (const part of Object.keys(this.handles)) if (!locked[part]) this.listen(part);
  }

  listen(part) {
    const handle = this.handles[part];
    const hold = () => this.editor.hold(this.key);
    onDrag(handle, this.lane, {
      begin: () => {
        this.begun = this.current();
        hold();
      },
      move: (from, by) => this.move(part, by),
      done: () => {
        this.begun = null;
        recordChange();
      },
    });
    handle.addEventListener("keydown", (event) => this.onKey(event, part));
    handle.addEventListener("focus", hold);
    handle.addEventListener("pointerenter", () => this.begun ?? hold());
    for (const name of ["blur", "pointerleave"]) handle.addEventListener(name, () => this.begun ?? this.letGo());
  }

  onKey(event, part) {
    if (isWord(this.key) && ["Delete", "Backspace"].includes(event.key)) return this.editor.drop(this.key);
    const by = keyStep(event, event.shiftKey ? 0.1 : 0.01);
    if (!by) return undefined;
    event.preventDefault();
    this.move(part, by);
    return recordChange();
  }

  move(part, by) {
    const [start, end] = moved(this.begun ?? this.current(), part, by);
    writeWindow(this.editor.node, this.key, part === "end" ? undefined : start, part === "start" ? undefined : end);
    refreshViews();
  }

  /** The window as it is now: it is drawn once a frame, and keys and hands may be faster. */
  current() {
    return windowsOf(this.editor.node).find((window) => window.key === this.key) ?? this.window;
  }

  letGo() {
    this.editor.held = this.element.contains(document.activeElement) ? this.key : null;
    refreshViews();
  }

  draw(window, ramp, steps) {
    this.window = window;
    const { start = 0, end = 1, strength } = window;
    const wrong = isWrong({ start, end });
    this.element.classList.toggle("p2p-wrong", wrong);
    this.element.classList.toggle("p2p-unknown", window.start === undefined || window.end === undefined);
    // A line for each step, as long as they can be told apart.
    this.lane.style.backgroundSize = `${steps > 0 && steps <= 50 ? 100 / steps : 25}% 100%`;
    this.bar.style.left = `${100 * start}%`;
    this.bar.style.width = `${100 * Math.max(end - start, 0)}%`;
    this.shape.setAttribute("d", rampPath(ramp, strength));
    for (const [part, value] of Object.entries({ start, end, whole: start })) {
      const text = part === "whole" ? say("{start} to {end}", { start: number(start), end: number(end) }) : number(value);
      const said = wrong ? say("{text}, start after end", { text }) : `${text}${inSteps(window, steps)}`;
      this.handles[part].setAttribute("aria-valuenow", number(value));
      this.handles[part].setAttribute("aria-valuetext", said);
    }
  }
}

function handleOf({ key, label, locked }, part, name) {
  return el("div", {
    class: `p2p-handle p2p-${part}`,
    role: "slider",
    tabindex: locked[part] ? -1 : 0,
    "data-key": `${key} ${part}`,
    "aria-label": `${label}, ${name}`,
    "aria-valuemin": 0,
    "aria-valuemax": 1,
    "aria-disabled": locked[part] ? "true" : null,
    title: locked[part] ? say("Set by a connected input") : null,
  });
}

function removeButton(name, onclick) {
  return el("button", {
    type: "button",
    class: "p2p-remove",
    "aria-label": say("Remove the window of {name}", { name }),
    title: say("Remove this window"),
    text: "×",
    onclick,
  });
}

/** The strength over the window in a box of 100 x 100. */
function rampPath(ramp, strength) {
  const height = Math.min(Math.max(Number(strength) || 0, 0), 1) * 100;
  const points = Array.from({ length: 33 }, (_, i) => `${(i * 100) / 32},${100 - height * rampAt(ramp, i / 32)}`);
  return `M0,100 L${points.join(" ")} L100,100 Z`;
}

function drawAxis(axis, steps) {
  show(axis, [steps], () => {
    const parts = [0, 0.25, 0.5, 0.75, 1];
    const marks = steps ? new Set(parts.map((t) => Math.round(t * steps))) : parts;
    const place = (mark) => `left: ${(100 * mark) / (steps || 1)}%`;
    const lane = el(
      "div",
      { class: "p2p-lane" },
      ...[...marks].map((mark) => el("span", { style: place(mark), text: mark })),
    );
    return [el("span", { class: "p2p-label", text: say(steps ? "step" : "part") }), lane, el("span")];
  });
}
