/** The views' and the commands' own words, in the front end's language. */
import { language } from "./host.js";
import { CHINESE } from "./chinese.js";

const WORDS = { zh: CHINESE };

/** A text as the person reads it; `{name}` in it is the value of that name. Where no translation is, English. */
export function say(text, values = {}) {
  const translated = WORDS[language().split("-")[0]]?.[text] ?? text;
  return translated.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}
