/**
 * The windows of AttentionInjectSchedule, read from its inputs and written to them.
 *
 * A window is { key, label, start, end, strength, locked, error }: the key is "cross", "self" or "word 3",
 * the fourth line of word_windows; locked says which parts are set by a connected input. Lines that are not
 * touched stay as they were typed. Mirrors p2p_core/schedule.py.
 */
import { setInput } from "./host.js";
import { inputOf, isConnected } from "./upstream.js";

const LINE = /^(.+?)\s*[:=]\s*([\d.]+)\s*(?:-|–|to)\s*([\d.]+)$/;

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
    const [, label, start, end] = LINE.exec(line.trim()) ?? [];
    const window = { key: `word ${i}`, label: label ?? line.trim(), start: Number(start), end: Number(end) };
    const error = !label || Number.isNaN(window.start + window.end);
    windows.push({ ...window, strength: windows[0].strength, locked, error });
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
  const [, words, oldStart, oldEnd] = LINE.exec(lines[i].trim());
  lines[i] = lineOf(words, start ?? Number(oldStart), end ?? Number(oldEnd));
  setInput(node, "word_windows", lines.join("\n"));
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

/** ": steps 1 to 24 of 30", counted from 1; the steps i of n with start <= i / n < end. */
export function inSteps({ start, end }, steps) {
  if (!steps || !(start <= end)) return "";
  const first = Math.ceil(Math.round(start * steps * 1e6) / 1e6);
  const last = Math.ceil(Math.round(end * steps * 1e6) / 1e6);
  return last > first ? `: steps ${first + 1} to ${last} of ${steps}` : `: none of ${steps} steps`;
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
