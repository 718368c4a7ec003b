/**
 * The windows of AttentionInjectSchedule, read from its inputs and written to them.
 *
 * A window is { key, label, start, end, strength, locked, error }: the key is "cross", "self" or "word 3",
 * the fourth line of word_windows; locked says which parts are set by a connected input. Lines that are not
 * touched stay as they were typed. Says of windows what p2p_core/schedule.py says: both read tests/cases/.
 */
import { setInput } from "./host.js";
import { say } from "./language.js";
import { inputOf, isConnected } from "./upstream.js";

const LINE = /^(.+?)\s*[:=]\s*([\d.]+)\s*(?:-|–|to)\s*([\d.]+)$/;

/** A line of word_windows as { label, start, end }, or null if it is of another form. */
export function readLine(line) {
  const [, label, ...ends] = LINE.exec(line.trim()) ?? [];
  const [start, end] = ends.map(Number);
  return Number.isNaN(start + end) || !label ? null : { label, start, end };
}

/** Whether no engine would take a window: its ends are the wrong way round, or outside of the steps. */
export const isWrong = ({ start, end }) => !(start <= end && start >= 0 && end <= 1);

/** All windows in the order of the inputs. */
export function windowsOf(node) {
  const windows = ["cross", "self"].map((key) => {
    const [start, end] = [inputOf(node, `${key}_start`), inputOf(node, `${key}_end`)];
    const locked = { start: isConnected(node, `${key}_start`), end: isConnected(node, `${key}_end`) };
    locked.whole = locked.start || locked.end;
    return { key, label: key, start, end, strength: inputOf(node, `${key}_strength`) ?? 1, locked };
  });
  const connected = isConnected(node, "word_windows");
  const locked = { start: connected, end: connected, whole: connected };
  textLines(node).forEach((line, i) => {
    if (!line.trim()) return;
    const window = readLine(line);
    const { strength } = windows[0];
    windows.push({ key: `word ${i}`, label: line.trim(), ...window, strength, locked, error: !window });
  });
  return windows;
}

export const isWord = (key) => key.startsWith("word");

/** Write one end of a window or both; undefined leaves an end as it is. */
export function writeWindow(node, key, start, end) {
  if (!isWord(key)) {
    if (start !== undefined) setInput(node, `${key}_start`, start);
    if (end !== undefined) setInput(node, `${key}_end`, end);
    return;
  }
  const lines = textLines(node);
  const i = lineNumber(key);
  const old = readLine(lines[i]);
  lines[i] = lineOf(old.label, start ?? old.start, end ?? old.end);
  setInput(node, "word_windows", lines.join("\n"));
}

/**
 * Where to start, for kinds of edits: the ends of the cross and the self window, which both begin with the steps.
 *
 * Chosen by the benchmark (tests/bench/quality) where the paper's 0.8 and 0.4 was not the best of them.
 */
export const PRESETS = {
  "word swap": [0.8, 0.4],
  "added words": [0.8, 0.3],
  "another place": [0.8, 0],
  "one thing, with a local blend": [1, 0.4],
  "another style": [0.8, 0.7],
  "1 to 4 steps": [0.5, 0.2],
  "transformer (Flux, SD 3.x)": [0, 0.4],
};

/** The kind of edit whose windows the node has, or "". */
export function presetOf(node) {
  const [cross, self] = windowsOf(node);
  const has = ([crossEnd, selfEnd]) =>
    cross.start === 0 && self.start === 0 && cross.end === crossEnd && self.end === selfEnd;
  return Object.keys(PRESETS).find((name) => has(PRESETS[name])) ?? "";
}

export function writePreset(node, name) {
  const [cross, self] = PRESETS[name];
  writeWindow(node, "cross", 0, cross);
  writeWindow(node, "self", 0, self);
}

/** A window for a word, as long as the cross window is now. */
export function addWordWindow(node, word) {
  const text = textLines(node).join("\n").trimEnd();
  const line = lineOf(word, inputOf(node, "cross_start") ?? 0, inputOf(node, "cross_end") ?? 0.8);
  setInput(node, "word_windows", text ? `${text}\n${line}` : line);
}

export function removeWordWindow(node, key) {
  const lines = textLines(node);
  lines.splice(lineNumber(key), 1);
  setInput(node, "word_windows", lines.join("\n"));
}

/** The ends of a window after one of its parts was moved: within [0, 1], the start not after the end. */
export function moved({ start = 0, end = 1 }, part, by) {
  const round = (value) => Math.round(value * 100) / 100;
  const within = (value, low, high) => Math.min(Math.max(value, low), high);
  if (part === "start") return [within(round(start + by), 0, end), end];
  if (part === "end") return [start, within(round(end + by), start, 1)];
  const shift = within(by, -start, 1 - end);
  return [round(start + shift), round(end + shift)];
}

const FEW_STEPS = 30;

/**
 * The first of the steps i of n with start <= i / n < end, and the first after them. Of few steps a window that lies
 * between two holds the one in which it begins.
 */
export function stepsIn({ start, end }, steps) {
  // Rounded as in the engine, since 0.07 * 100 is more than 7 in binary.
  const [from, to] = [start, end].map((at) => Math.round(at * steps * 1e6) / 1e6);
  const [first, after] = [Math.ceil(from), Math.ceil(to)];
  return first === after && from < to && steps < FEW_STEPS ? [first - 1, after] : [first, after];
}

/** ": steps 1 to 24 of 30", counted from 1. */
export function inSteps(window, steps) {
  if (!steps || !(window.start <= window.end)) return "";
  const [first, after] = stepsIn(window, steps);
  return after > first
    ? say(": steps {first} to {last} of {steps}", { first: first + 1, last: after, steps })
    : say(": none of {steps} steps", { steps });
}

/** The strength after a part of a window has passed, for a ramp. */
export function rampAt(ramp, passed) {
  if (ramp === "linear") return 1 - passed;
  return ramp === "cosine" ? (1 + Math.cos(Math.PI * passed)) / 2 : 1;
}

export const number = (value) => (value === undefined ? "?" : String(Math.round(value * 1000) / 1000));

const textLines = (node) => String(inputOf(node, "word_windows") ?? "").split("\n");
const lineOf = (words, start, end) => `${words}: ${number(start)}-${number(end)}`;
const lineNumber = (key) => Number(key.slice("word ".length));
