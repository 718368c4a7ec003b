/**
 * Prompts as far as they can be read without the text encoder: words, phrases, and which word stands for which.
 *
 * Mirrors p2p_core/tokens.py and p2p_core/alignment.py on words. What the encoder really saw comes with the
 * result of a run; these are for the time before.
 */

const WEIGHT = /:\s*[+-]?(?:\d+\.?\d*|\.\d+)\s*$/;
// As CLIP splits a text into words; an embedding is a word of its own.
const WORD = /embedding:[^\s,()]+|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/giu;
const MARKS = new Set(",.;:!?\"'`´‘’“”„«»()[]{}<>|/\\-–—_…。、，；：！？（）【】《》「」·*~^");

/** The words of a prompt in order, without weights: "a (red:1.2) car" has a, red, car. */
export function wordsOf(prompt) {
  return (
    withoutWeights(prompt)
      .match(WORD)
      ?.map((word) => word.toLowerCase()) ?? []
  );
}

function withoutWeights(prompt) {
  let text = "";
  let inside = [];
  for (let i = 0; i < prompt.length; i++) {
    const c = prompt[i];
    if (c === "\\" && "()".includes(prompt[i + 1])) text += prompt[++i];
    else if (c === "(") {
      inside.push(text.length);
      text += " ";
    } else if (c === ")" && inside.length) {
      const start = inside.pop();
      text = `${text.slice(0, start)}${text.slice(start).replace(WEIGHT, "")} `;
    } else text += c;
  }
  return text;
}

/** The comparable part of a word. */
export function lettersOf(text) {
  return [...text.toLowerCase()].filter((c) => c.trim() && !MARKS.has(c)).join("");
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
  const nth = /^(.+)#(\d+)$/.exec(phrase);
  if (nth) return placesOf(words, nth[1]).slice(nth[2] - 1, nth[2]);
  const wanted = lettersOf(phrase);
  if (!wanted || isTokenNumber(phrase)) return [];
  const spelled = words.map((word, i) => [lettersOf(word), i]).filter(([text]) => text);
  const places = [];
  for (let start = 0; start < spelled.length;) {
    let text = "";
    let end = start;
    while (end < spelled.length && text.length < wanted.length) text += spelled[end++][0];
    if (text === wanted) places.push(spelled.slice(start, end).map(([, i]) => i));
    start = text === wanted ? end : start + 1;
  }
  return places;
}

export const isTokenNumber = (phrase) => /^\[\s*\d+\s*\]$/.test(phrase);

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

/**
 * How two prompts are likely to be paired, word for word, in the form of a run's result:
 * { source: [{ text, word }], edit: [...], links: [{ source, edit, kind }] }.
 */
export function previewOf(source, edit, mode) {
  const [old, fresh] = [wordsOf(source), wordsOf(edit)];
  const links = { replace: byOrder, refine: sameOnly, sequence: sameOrRun, auto: anchored }[mode](old, fresh);
  const token = (text, word) => ({ text, word, kind: "text" });
  return {
    source: old.map(token),
    edit: fresh.map(token),
    links: links.map(([i, j]) => ({ source: [i], edit: [j], kind: old[i] === fresh[j] ? "taken" : "swapped" })),
  };
}

const range = (length, from = 0) => Array.from({ length }, (_, i) => from + i);

function byOrder(old, fresh) {
  const [a, b] = [old, fresh].map((words) => range(words.length).filter((i) => !isMark(words[i])));
  const [c, d] = [old, fresh].map((words) => range(words.length).filter((i) => isMark(words[i])));
  const pair = (x, y) => range(Math.min(x.length, y.length)).map((i) => [x[i], y[i]]);
  return [...pair(a, b), ...pair(c, d)].sort(([, x], [, y]) => x - y);
}

const sameOnly = (old, fresh) => needlemanWunsch(old, fresh);

function sameOrRun(old, fresh) {
  return between(old, fresh, (a, b) => (a.length === b.length ? a.map((i, k) => [i, b[k]]) : []));
}

function anchored(old, fresh) {
  // Words between two that stayed were swapped; the last ones are paired first.
  return between(old, fresh, (a, b) => {
    const n = Math.min(a.length, b.length);
    return range(n).map((k) => [a[a.length - n + k], b[b.length - n + k]]);
  });
}

function between(old, fresh, swap) {
  const links = [];
  let [i0, j0] = [0, 0];
  for (const [i, j] of [...needlemanWunsch(old, fresh), [old.length, fresh.length]]) {
    links.push(...swap(range(i - i0, i0), range(j - j0, j0)));
    if (i < old.length) links.push([i, j]);
    [i0, j0] = [i + 1, j + 1];
  }
  return links;
}

/** Gap 0, match 1, mismatch -1, ties as in p2p_core/alignment.py. */
function needlemanWunsch(old, fresh) {
  const score = range(old.length + 1).map(() => Array(fresh.length + 1).fill(0));
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
