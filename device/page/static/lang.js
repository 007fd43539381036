// The texts of the page, from a file per language: that of the browser, or the one that was chosen on the page.

const LANGUAGES = { en: "English", de: "Deutsch", zh: "中文" };
const STORED = "edgetl.language";

export const language = stored() ?? preferred();
document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
const load = async (code) => (await fetch(`/lang/${code}.json`)).json();
const texts = await load(language);
const english = language === "en" ? texts : await load("en");
const plurals = new Intl.PluralRules(language);
const decimals = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

// Returns a text with its values in place of {names}; where it depends on a number, that is {count}.
export function t(key, values = {}) {
  const found = texts[key];
  const text = typeof found === "string" ? found : found[plurals.select(values.count)];
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const decimal = (number) => decimals.format(number);
export const percent = (share) => t("percent", { value: Math.round(100 * share) });
export const list = (names) => names.join(t("comma"));
export const moment = (seconds) => new Date(1000 * seconds).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });

// Sentences that the device writes in English, such as warnings and errors: [key of the text, what it looks like].
const MESSAGES = Object.entries(english).filter(([key]) => key.startsWith("message")).map(([key, text]) =>
  [key, new RegExp(`^${text.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{(\w+)\}/g, "(?<$1>.+)")}$`, "su")]);

// Such a sentence in the language of the page, and the language it is in; those without a text here stay English.
export function message(text) {
  for (const [key, pattern] of MESSAGES) {
    const found = pattern.exec(text);
    if (found) return { text: t(key, found.groups), lang: language };
  }
  return { text, lang: "en" };
}

// What a sample teaches, as the device writes it in English: a label, "not LABEL", or "background".
export function meaning(text) {
  if (text === "background") return t("background");
  return text.startsWith("not ") ? t("notLabel", { label: text.slice(4) }) : text;
}

// What one sample teaches.
export function meaningOf({ label, meaning: text }) {
  return label ?? meaning(text);
}

// The same for what is taught: {label}, {not: label} or {background: true}, as in requests.
export const nameOf = (target) => target.label ?? (target.background ? t("background") : t("notLabel", { label: target.not }));

// Fills the list of languages; another choice loads the page again.
export function setUp(select) {
  for (const [code, name] of Object.entries(LANGUAGES)) select.add(new Option(name, code, false, code === language));
  select.addEventListener("change", () => {
    try {
      localStorage.setItem(STORED, select.value);
      location.reload();
    } catch { /* the browser keeps nothing, so its own language stays */ }
  });
}

function preferred() {
  const wanted = (navigator.languages ?? [navigator.language]).map((tag) => tag.toLowerCase().split("-")[0]);
  return wanted.find((code) => Object.hasOwn(LANGUAGES, code)) ?? "en";
}

function stored() {
  try {
    const code = localStorage.getItem(STORED);
    return code !== null && Object.hasOwn(LANGUAGES, code) ? code : null;
  } catch {
    return null; // the browser keeps nothing
  }
}
