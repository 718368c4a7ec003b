/**
 * Prompts as far as they can be read without the text encoder: words, phrases, and which word stands for which.
 *
 * Says of words what p2p_core/tokens.py and p2p_core/alignment.py say of them: both read tests/cases/. What the
 * encoder really saw comes with the result of a run; these are for the time before.
 */

// -- words ------------------------------------------------------------------------------------------

// What a word is, on a text of which each character is replaced by its kind: as in p2p_core/words.py.
const WORD = new RegExp(
  "HM*" + // a Han character
    "|A[AM]*|K[KM]*" + // a run of Hiragana, of Katakana
    "|TM*" + // a letter of a script that has no blanks
    "|c?[LN][LNM]*(?:j[LN][LNM]*|(?<=N)d(?=N)[LN][LNM]*)*(?:(?<=N)p)?" + // lovely-dog, don't, 1990, 3.5, 50%, #1
    "|RR|[SR]M*(?:Z[SR]M*)*" + // a flag, an emoji
    "|(?:(?!c[LN])[jdpcxMZ])+", // what stands between words
  "g",
);
const LETTERS = [
  ["T", /[\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF]/],
  ["H", /[\u2E80-\u2FDF\u3005-\u3007\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\u{20000}-\u{3FFFF}]/u],
  ["A", /[\u3041-\u309F]/],
  ["K", /[\u30A0-\u30FF\u31F0-\u31FF\uFF66-\uFF9F]/],
];
const KINDS = [
  ["j", /['’\-‐‑_]/],
  ["d", /[.,:]/],
  ["p", /[%‰°]/],
  ["c", /[#@$€£¥]/],
  ["Z", /\u200D/],
  [" ", /\p{White_Space}/u],
  ["M", /[ー\p{M}\u{1F3FB}-\u{1F3FF}\u{E0020}-\u{E007F}]/u],
  ["H", /\u3007/],
  ["N", /\p{N}/u],
  ["R", /[\u{1F1E6}-\u{1F1FF}]/u],
  ["S", /\p{So}/u],
];
// What the tokenizer ends a token at: parts of words that can be named by themselves, as dog in lovely-dog.
const PART = /'s|'t|'re|'ve|'m|'ll|'d|[\u3041-\u309F\u30A0-\u30FF\u31F0-\u31FF\uFF66-\uFF9F\uAC00-\uD7A3]|[^\P{L}\u3041-\u309F\u30A0-\u30FF\u31F0-\u31FF\uFF66-\uFF9F\uAC00-\uD7A3]+|\p{N}|[^\p{White_Space}\p{L}\p{N}]+/gu;
// ComfyUI knows an embedding at the start of a line or after a blank. It is a word by the name of its file.
const EMBEDDING = /(?:^|[ \n])embedding:([^\s,:()]+)/;
const NUMBER = /^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*$/i;
const MARKS = new Set(",.;:!?\"'`´‘’“”„«»()[]{}<>|/\\-–—_…。、，；：！？（）【】《》「」·*~^");

/** The words of a prompt in order, without weights: "a (red:1.2) car" has a, red, car. */
export function wordsOf(prompt) {
  const escaped = prompt.replaceAll("\\)", "\0\x01").replaceAll("\\(", "\0\x02");
  return segmentsOf(escaped).flatMap((segment) => {
    const text = segment.replaceAll("\0\x01", ")").replaceAll("\0\x02", "(");
    return text.split(EMBEDDING).flatMap((part, i) => (i % 2 ? [part] : splitWords(part)));
  });
}

function splitWords(text) {
  // Letter by letter: a whole word's last sigma would become another small letter than the tokenizer's.
  const small = [...text.normalize("NFC")].map((c) => c.toLowerCase()).join("");
  const letters = [...small];
  const kinds = letters.map(kindOf).join("");
  return [...kinds.matchAll(WORD)].map(({ 0: found, index }) => letters.slice(index, index + found.length).join(""));
}

function kindOf(c) {
  if (/\p{L}/u.test(c) && c !== "ー") return LETTERS.find(([, these]) => these.test(c))?.[0] ?? "L";
  return KINDS.find(([, these]) => these.test(c))?.[0] ?? "x";
}

/** A prompt's texts of one weight each, as comfy/sd1_clip.py's token_weights finds them; no word goes over an edge. */
function segmentsOf(text) {
  return groupsOf(text).flatMap((group) => {
    if (!/^\(.*\)$/s.test(group)) return [group];
    const inside = group.slice(1, -1);
    const colon = inside.lastIndexOf(":");
    const weighted = colon > 0 && NUMBER.test(inside.slice(colon + 1));
    return segmentsOf(weighted ? inside.slice(0, colon) : inside);
  });
}

/** A text split into its outermost parentheses and what lies between; one too many makes the rest plain text. */
function groupsOf(text) {
  const groups = [];
  let group = "";
  let depth = 0;
  for (const c of text) {
    if (c === "(" && depth++ === 0) {
      groups.push(group);
      group = "";
    }
    group += c;
    if (c === ")" && --depth === 0) {
      groups.push(group);
      group = "";
    }
  }
  return [...groups, group].filter(Boolean);
}

/** The comparable part of a word: its letters, digits and symbols beyond punctuation, whatever their case. */
export function lettersOf(text) {
  const fold = (c) => c.toLowerCase().toUpperCase().toLowerCase(); // ß is ss
  return [...text.replace(/\p{White_Space}/gu, "")]
    .filter((c) => !MARKS.has(c))
    .map(fold)
    .join("");
}

export const isMark = (word) => !lettersOf(word);

/** The phrases of an input's text, separated by commas or line ends. */
export function splitPhrases(text) {
  return text
    .split(/[,，\n]/)
    .map((phrase) => phrase.trim())
    .filter(Boolean);
}

/** The places of a phrase among words, as lists of their numbers. "cat#2" is the second; "[5]" only the encoder knows. */
export function placesOf(words, phrase) {
  const nth = /^(.+)#(\d+)$/.exec(phrase.trim());
  if (nth) return placesOf(words, nth[1]).slice(nth[2] - 1, nth[2]);
  const wanted = lettersOf(phrase);
  if (!wanted || isTokenNumber(phrase)) return [];
  const whole = words.map((word, i) => [word, i]);
  const found = placesAmong(whole, wanted);
  // Where no words are the phrase, parts of words may be.
  return found.length ? found : placesAmong(whole.flatMap(([word, i]) => partsOf(word).map((part) => [part, i])), wanted);
}

const partsOf = (word) => word.match(PART) ?? [word];

/** Where the letters of words in a row, each with a number, are the wanted ones: lists of their numbers. */
function placesAmong(words, wanted) {
  const spelled = words.map(([word, i]) => [lettersOf(word), i]).filter(([text]) => text);
  const places = [];
  for (let start = 0; start < spelled.length;) {
    let text = "";
    let end = start;
    while (end < spelled.length && text.length < wanted.length) text += spelled[end++][0];
    if (text === wanted) places.push([...new Set(spelled.slice(start, end).map(([, i]) => i))]);
    start = text === wanted ? end : start + 1;
  }
  return places;
}

export const isTokenNumber = (phrase) => /^\[\s*\d+\s*\]$/.test(phrase.trim());

/**
 * The words of several prompts under the names that single each one out: cat, or cat#1 and cat#2.
 *
 * Returns a Map from name to the places [prompt, word] it has.
 */
export function namesOf(prompts) {
  const names = new Map();
  const count = (word) => Math.max(...prompts.map((words) => placesOf(words, word).length));
  prompts.forEach((words, p) => {
    words.forEach((word, w) => {
      if (isMark(word)) return;
      const nth = placesOf(words, word).findIndex((place) => place.includes(w));
      const name = count(word) > 1 ? `${word}#${nth + 1}` : word;
      names.set(name, [...(names.get(name) ?? []), [p, w]]);
    });
  });
  return names;
}

/** The names that a phrase covers. */
export function coverOf(phrase, prompts, names) {
  const covered = prompts.map((words) => new Set(placesOf(words, phrase).flat()));
  return [...names].filter(([, at]) => at.some(([p, w]) => covered[p].has(w))).map(([name]) => name);
}

// -- pairing ----------------------------------------------------------------------------------------

/**
 * How two prompts are paired, word for word, in the form of a run's result:
 * { source: [{ text, word }], edit: [...], links: [{ source, edit, kind }] }.
 *
 * `links` is null where the mode refuses the prompts. The engine's words may have several tokens each, of which
 * only `refine` and `sequence` take notice.
 */
export function previewOf(source, edit, mode) {
  const [old, fresh] = [wordsOf(source), wordsOf(edit)];
  const token = (text, word) => ({ text, word, kind: "text" });
  const link = ([i, j]) => ({ source: [i], edit: [j], kind: old[i] === fresh[j] ? "taken" : "swapped" });
  const pairs = { auto, replace, refine: needlemanWunsch, sequence }[mode](old, fresh);
  const links = pairs?.sort(([, j], [, k]) => j - k).map(link) ?? null;
  return { source: old.map(token), edit: fresh.map(token), links };
}

const range = (start, end) => Array.from({ length: end - start }, (_, i) => start + i);
const zip = (a, b) => range(0, Math.min(a.length, b.length)).map((k) => [a[k], b[k]]);

/** Words that stayed, and between two of them the words that were swapped, and the marks. */
function auto(old, fresh) {
  const links = [];
  let [i0, j0] = [0, 0];
  for (const [i, j] of [...needlemanWunsch(old, fresh), [old.length, fresh.length]]) {
    for (const mark of [false, true]) {
      const gone = range(i0, i).filter((k) => isMark(old[k]) === mark);
      const come = range(j0, j).filter((k) => isMark(fresh[k]) === mark);
      links.push(...zip(gone.reverse(), come.reverse())); // the last ones are paired first
    }
    if (i < old.length) links.push([i, j]);
    [i0, j0] = [i + 1, j + 1];
  }
  return links;
}

/** Word for word, each with the marks that follow it; null where one prompt has more words. */
function replace(old, fresh) {
  const [a, b] = [old, fresh].map((words) => {
    const groups = [[]];
    words.forEach((word, i) => (isMark(word) ? groups.at(-1).push(i) : groups.push([i])));
    return groups;
  });
  return a.length === b.length ? a.flatMap((group, n) => zip(group, b[n])) : null;
}

/** Equal runs, and runs of the same length between them, as Python's difflib finds them. */
function sequence(old, fresh) {
  const [a, b] = [old, fresh].map(inChunks);
  const links = [];
  let [i0, j0] = [0, 0];
  for (const [i, j, size] of [...equalRuns(a, b, 0, a.length, 0, b.length), [a.length, b.length, 0]]) {
    if (i - i0 === j - j0) links.push(...zip(a.slice(i0, i), b.slice(j0, j)));
    links.push(...zip(a.slice(i, i + size), b.slice(j, j + size)));
    [i0, j0] = [i + size, j + size];
  }
  const words = links.filter((pair) => pair.every(({ word }) => word !== undefined));
  return words.map(([from, to]) => [from.word, to.word]);
}

const CHUNK = 77;

/** Words as an encoder has them that makes one token of each: difflib sees start, end and padding as well. */
function inChunks(words) {
  const items = [];
  for (let first = 0; !first || first < words.length; first += CHUNK - 2) {
    const here = words.slice(first, first + CHUNK - 2).map((text, i) => ({ item: `word ${text}`, word: first + i }));
    const padding = Array(CHUNK - 2 - here.length).fill({ item: "padding" });
    items.push({ item: "start" }, ...here, { item: "end" }, ...padding);
  }
  return items;
}

/** The longest run that two lists have in common, then those before and after it: [start in a, start in b, length]. */
function equalRuns(a, b, aStart, aEnd, bStart, bEnd) {
  let longest = [aStart, bStart, 0];
  let before = []; // for each place in b, how long the run is that ends there and at the last place in a
  for (let i = aStart; i < aEnd; i++) {
    const here = [];
    for (let j = bStart; j < bEnd; j++) {
      if (a[i].item !== b[j].item) continue;
      here[j] = (before[j - 1] ?? 0) + 1;
      if (here[j] > longest[2]) longest = [i - here[j] + 1, j - here[j] + 1, here[j]];
    }
    before = here;
  }
  const [i, j, size] = longest;
  if (!size) return [];
  return [...equalRuns(a, b, aStart, i, bStart, j), longest, ...equalRuns(a, b, i + size, aEnd, j + size, bEnd)];
}

/** Gap 0, match 1, mismatch -1, ties as in p2p_core/alignment.py. */
function needlemanWunsch(old, fresh) {
  const score = Array.from({ length: old.length + 1 }, () => Array(fresh.length + 1).fill(0));
  old.forEach((a, i) => {
    fresh.forEach((b, j) => {
      score[i + 1][j + 1] = Math.max(score[i + 1][j], score[i][j + 1], score[i][j] + (a === b ? 1 : -1));
    });
  });
  const pairs = [];
  for (let i = old.length, j = fresh.length; i && j;) {
    if (score[i][j] === score[i][j - 1]) j--;
    else if (score[i][j] === score[i - 1][j]) i--;
    else pairs.unshift([--i, --j]);
  }
  return pairs;
}
