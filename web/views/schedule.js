/**
 * Schedule editor on AttentionInjectSchedule: a bar for each window over the steps, drawn as the strength falls.
 *
 * Bars are dragged by their ends or as a whole, or moved with the keyboard. They write the node's own number
 * and text inputs and are drawn from them.
 */
import { el, onDrag, show, svg } from "../draw.js";
import { addView, recordChange, refreshViews } from "../host.js";
import { namesOf, wordsOf } from "../prompts.js";
import { inputOf, isConnected, promptsOf, stepsAfter } from "../upstream.js";
import {
  addWordWindow,
  inSteps,
  isWord,
  moved,
  number,
  rampAt,
  removeWordWindow,
  windowsOf,
  writeWindow,
} from "../windows.js";

const ROW = 24;
const AROUND = 20 + 18 + 28; // readout, axis, the choice of a word

export function addScheduleEditor(node) {
  const readout = el("div", { class: "p2p-status", "aria-hidden": "true" }); // the handles say it themselves
  const rows = el("div", { class: "p2p-rows" });
  const axis = el("div", { class: "p2p-axis", "aria-hidden": "true" });
  const choice = el("select", { class: "p2p-select", "aria-label": "Add a window for a word", onchange: addWord });
  const element = el(
    "div",
    { class: "p2p-schedule", role: "group", "aria-label": "Injection schedule" },
    readout,
    rows,
    axis,
    choice,
  );

  let steps;
  let held = null; // the bar under way or in focus, whose numbers the readout says

  function addWord() {
    if (!choice.value) return;
    addWordWindow(node, choice.value);
    recordChange();
    refreshViews();
  }

  function refresh() {
    steps = stepsAfter(node);
    const bars = windowsOf(node);
    const ramp = inputOf(node, "ramp") ?? "constant";
    // While a bar is held its elements stay; a bar more or less makes new ones.
    show(
      rows,
      bars.map((bar) => [bar.key, bar.label, bar.locked, bar.error]),
      () => bars.map((bar) => rowOf(bar)),
    );
    bars.forEach((bar, i) => rows.children[i].p2pDraw(bar, ramp));
    drawAxis(axis, steps);
    drawChoice();
    say(bars.find((bar) => bar.key === held));
  }

  function drawChoice() {
    const edits = promptsOf(node)?.edits.filter((text) => text !== undefined) ?? [];
    const taken = new Set(windowsOf(node).map((bar) => bar.label));
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
      return Object.assign(
        el(
          "div",
          { class: "p2p-row p2p-error", role: "alert" },
          el("span", { class: "p2p-label", text: "!" }),
          el("span", { text: `'${label}' is not of the form 'dog: 0.0-0.3'` }),
        ),
        { p2pDraw() {} },
      );
    }
    const track = el("div", { class: "p2p-lane" });
    const shape = svg("path", {});
    const drawing = svg(
      "svg",
      { class: "p2p-ramp", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" },
      shape,
    );
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
    const parts = {
      whole: handle("whole", "whole window"),
      start: handle("start", "start"),
      end: handle("end", "end"),
    };
    const bar = el("div", { class: "p2p-bar" }, drawing, parts.whole, parts.start, parts.end);
    track.append(bar);
    const remove =
      isWord(key) &&
      !locked.whole &&
      el("button", {
        type: "button",
        class: "p2p-remove",
        "aria-label": `Remove the window of ${label}`,
        title: "Remove this window",
        text: "×",
        onclick: () => drop(key),
      });
    const row = el(
      "div",
      { class: `p2p-row p2p-row-${isWord(key) ? "word" : key}`, "data-row": label },
      el("span", { class: "p2p-label", text: label, title: label }),
      track,
      remove || el("span"),
    );

    let now; // the bar as it was last drawn
    let begun; // as it was when a drag began
    const letGo = () => {
      held = row.contains(document.activeElement) ? key : null;
      refreshViews();
    };
    // Drawn once a frame; keys and hands may be faster.
    const current = () => windowsOf(node).find((bar) => bar.key === key) ?? now;
    const change = (part, by) => {
      const [start, end] = moved(begun ?? current(), part, by);
      writeWindow(node, key, part === "end" ? undefined : start, part === "start" ? undefined : end);
      refreshViews();
    };
    for (const [part, element] of Object.entries(parts)) {
      if (locked[part]) continue;
      onDrag(element, track, {
        begin: () => {
          begun = current();
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
        if (isWord(key) && (event.key === "Delete" || event.key === "Backspace")) return drop(key);
        if (!by) return;
        event.preventDefault();
        change(part, by);
        recordChange();
      });
      element.addEventListener("focus", () => say(now, (held = key)));
      element.addEventListener("pointerenter", () => begun ?? say(now, (held = key)));
      for (const name of ["blur", "pointerleave"]) element.addEventListener(name, () => begun ?? letGo());
    }
    row.p2pDraw = (bar, ramp) => {
      now = bar;
      draw({ row, track, shape, parts, bar, ramp, steps });
    };
    return row;
  }

  function drop(key) {
    removeWordWindow(node, key);
    recordChange();
    refreshViews();
    choice.focus({ preventScroll: true }); // what had the focus is gone
  }

  addView(node, {
    name: "schedule editor",
    width: 340,
    element,
    height: () => AROUND + ROW * windowsOf(node).length,
    refresh,
  });
}

function draw({ row, track, shape, parts, bar, ramp, steps }) {
  const { start = 0, end = 1, strength } = bar;
  const unknown = bar.start === undefined || bar.end === undefined;
  const wrong = !(start <= end && start >= 0 && end <= 1);
  row.classList.toggle("p2p-wrong", wrong);
  row.classList.toggle("p2p-unknown", unknown);
  // A line for each step, as long as they can be told apart.
  track.style.backgroundSize = `${steps > 0 && steps <= 50 ? 100 / steps : 25}% 100%`;
  track.firstChild.style.left = `${100 * start}%`;
  track.firstChild.style.width = `${100 * Math.max(end - start, 0)}%`;
  shape.setAttribute("d", rampPath(ramp, strength));
  for (const [part, value] of [
    ["start", start],
    ["end", end],
    ["whole", start],
  ]) {
    const text = part === "whole" ? `${number(start)} to ${number(end)}` : number(value);
    parts[part].setAttribute("aria-valuenow", number(value));
    parts[part].setAttribute("aria-valuetext", wrong ? `${text}, start after end` : `${text}${inSteps(bar, steps)}`);
  }
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
    return [el("span", { class: "p2p-label", text: steps ? "step" : "part" }), lane, el("span")];
  });
}
