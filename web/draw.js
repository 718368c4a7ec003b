/** What all views are drawn with: plain DOM, SVG, chips and drags. Looks are in style.css. */

const SVG = "http://www.w3.org/2000/svg";

/** Give the page the views' looks. */
export function addStyleSheet() {
  const href = new URL("./style.css", import.meta.url).href;
  document.head.append(el("link", { rel: "stylesheet", href }));
}

/**
 * An element. `text` is its text, `on...` a listener, null and false leave an attribute out.
 *
 * el("button", { class: "p2p-chip", onclick: choose, "aria-pressed": true }, "dog")
 */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/**
 * Put `children` into `element` only if what they show has changed, so that redrawing for nothing costs
 * neither the focus nor a gesture under way. `key` is anything JSON that says what they show. Focus stays
 * where it was, by `data-key`.
 */
export function show(element, key, children) {
  const signature = JSON.stringify(key);
  if (element.p2pShown === signature) return false;
  element.p2pShown = signature;
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  element.replaceChildren(...children());
  if (focused !== undefined) {
    const again = [...element.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused);
    again?.focus({ preventScroll: true });
  }
  return true;
}

/** A button that is on or off. */
export function toggle(text, { pressed, label, key = text, title, onclick, disabled }) {
  return el("button", {
    type: "button",
    class: "p2p-chip p2p-toggle",
    "aria-pressed": String(Boolean(pressed)),
    "aria-label": label,
    "data-key": key,
    title,
    disabled: disabled ? "" : null,
    onclick,
    text,
  });
}

/**
 * One tab stop for a row of elements; arrow keys go from one to the next.
 * Call it after the row was drawn; elements are those with `data-key`.
 */
export function roving(row) {
  const stops = () => [...row.querySelectorAll("[data-key]:not([disabled])")];
  const current = stops().find((stop) => stop === document.activeElement) ?? stops()[0];
  for (const stop of stops()) stop.tabIndex = stop === current ? 0 : -1;
  if (row.p2pRoving) return;
  row.p2pRoving = true;
  row.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    const all = stops();
    const at = all.indexOf(event.target);
    if (at < 0) return;
    const to = event.key === "Home" ? 0 : event.key === "End" ? all.length - 1 : at + (steps[event.key] ?? NaN);
    if (!all[to]) return;
    event.preventDefault();
    all[at].tabIndex = -1;
    all[to].tabIndex = 0;
    all[to].focus();
  });
}

/**
 * Drags with the first button, in fractions of the width of `track`.
 *
 * begin() is called when the pointer goes down and may return false; move(from, by) with the place where it
 * went down and how far it has come since; done() at the end, however it ends.
 */
export function onDrag(handle, track, { begin, move, done }) {
  handle.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || begin?.(event) === false) return;
    event.preventDefault(); // no selecting of text
    handle.focus({ preventScroll: true });
    handle.setPointerCapture(event.pointerId);
    const box = track.getBoundingClientRect(); // on the screen: right at any zoom
    const from = (event.clientX - box.left) / box.width;
    const follow = (moved) => move(from, (moved.clientX - event.clientX) / box.width);
    const finish = () => {
      handle.removeEventListener("pointermove", follow);
      done?.();
    };
    handle.addEventListener("pointermove", follow);
    handle.addEventListener("lostpointercapture", finish, { once: true });
  });
}

/** How far a key moves a slider: arrows by `near`, Home and End to its ends; undefined for any other key. */
export function keyStep({ key }, near) {
  const up = { ArrowRight: near, ArrowUp: near, PageUp: 0.1, End: 1 };
  const down = { ArrowLeft: -near, ArrowDown: -near, PageDown: -0.1, Home: -1 };
  return up[key] ?? down[key];
}

// -- rows of words ----------------------------------------------------------------------------------

export const LINE = 26; // pixels of a line of chips
const LABEL = 62;
const MARGINS = 30;
const MOST_LINES = 5; // of a row; what is below can be scrolled to

export const label = (text) => el("span", { class: "p2p-label", text, title: text });

/** A row of a label and what it is for. */
export const labelled = (text, ...children) => el("div", { class: "p2p-word-row" }, label(text), ...children);

/** The place of a row's chips. */
export const wordList = (attributes, ...chips) =>
  el("div", { class: "p2p-words", role: "toolbar", ...attributes }, ...chips);

/** How high rows of chips with these texts are in a node. */
export function heightOfRows(rows, node) {
  const width = node.size[0] - LABEL - MARGINS;
  return rows.reduce((sum, texts) => sum + Math.min(linesOf(texts, width), MOST_LINES) * LINE, 0);
}

/** How many lines chips with these texts take when they flow over a width. */
function linesOf(texts, width) {
  let lines = 1;
  let x = 0;
  for (const text of texts) {
    const chip = textWidth(text) + 20;
    if (x && x + chip > width) {
      lines += 1;
      x = 0;
    }
    x += chip;
  }
  return lines;
}

/** How wide a text is in the views' font, without laying anything out. */
function textWidth(text) {
  pen ??= document.createElement("canvas").getContext("2d");
  pen.font = "12px sans-serif";
  return pen.measureText(text).width;
}
let pen;
