// Builds elements, sends requests and shows messages. Text is inserted as text only, since labels may contain markup.

import { message, t } from "./lang.js";

export const $ = (id) => document.getElementById(id);

// Control and invisible characters, as in device/printable.py: a label could reorder the text around it.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]/gu;
export const visible = (text) =>
  String(text).replace(HIDDEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);

// All text is written through this function; `make` does the same for its children. Equal text is not written again,
// because each change makes the browser draw.
export function say(element, text) {
  const shown = visible(text);
  if (element.textContent !== shown) element.textContent = shown;
}

// Writes a text in which parts between backticks are code.
export function sayRich(element, text) {
  element.replaceChildren(...text.split("`").map((part, place) => (place % 2 ? make("code", {}, part) : visible(part))));
}

// Attributes of elements of index.html with the key of a text, and the attribute that gets it.
const TRANSLATED = { "data-title": "title", "data-alt": "alt", "data-name": "aria-label", "data-example": "placeholder" };

// Writes the texts that index.html names.
export function translate() {
  for (const element of document.querySelectorAll("[data-text]")) sayRich(element, t(element.dataset.text));
  for (const [key, attribute] of Object.entries(TRANSLATED)) {
    for (const element of document.querySelectorAll(`[${key}]`)) element.setAttribute(attribute, t(element.getAttribute(key)));
  }
}

const READ_ALOUD = ["title", "alt", "aria-label"]; // attributes that are shown or read aloud

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (READ_ALOUD.includes(name)) element.setAttribute(name, visible(value));
    else if (name in element && name !== "role") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.map((child) => (child instanceof Node ? child : visible(child))));
  return element;
}

// Shows these children in this order; those that stay are not moved without need, so that they keep the focus.
export function arrange(parent, wanted) {
  const kept = new Set(wanted);
  for (const child of [...parent.children]) if (!kept.has(child)) child.remove();
  wanted.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
}

// The page of a camera or region is below /region/NAME/, and so are its addresses.
const REGION = location.pathname.match(/^\/region\/[^/]+(?=\/)/)?.[0] ?? "";
export const at = (path) => REGION + path;

export class Refused extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(at(path), { credentials: "same-origin", ...options });
  } catch {
    throw new Refused(t("deviceSilent"), 0);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Refused(sentence(body.error ? message(body.error).text : t("deviceStatus", { status: response.status })), response.status);
}

export const get = async (path) => (await ask(path)).json();
export const getBlob = async (path) => (await ask(path)).blob();
export const post = async (path, body = {}) =>
  (await ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) })).json();

export const postPhoto = async (path, photo) =>
  (await ask(path, { method: "POST", headers: { "content-type": photo.type }, body: photo })).json();

// Returns random bytes in hexadecimal.
export const randomName = (bytes) =>
  Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join("");

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export function toast(message, { action, run, bad = false } = {}) {
  const box = make("div", { class: bad ? "toast bad" : "toast" }, make("span", {}, message));
  if (action) {
    box.append(make("button", { type: "button", class: "quiet", onclick: () => { box.remove(); run(); } }, action));
  }
  $("toasts").replaceChildren(box);
  setTimeout(() => box.remove(), bad ? 8000 : 6000);
}

export const hush = () => $("toasts").replaceChildren();

// Runs an action of the user; shows an error once.
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    toast(error.message, { bad: true });
    return undefined;
  }
}

// Opens the dialog and resolves to {choice, text}, or null when it was canceled; `more` has further choices: [name, text].
export function choose({ title, text = "", image = "", choices = [], more = [], input = null, ok = "", second = "", danger = false }) {
  const dialog = $("dialog");
  say($("dialog-title"), title);
  say($("dialog-text"), text);
  $("dialog-text").hidden = !text;
  $("dialog-image").hidden = !image;
  if (image) $("dialog-image").src = image;
  else $("dialog-image").removeAttribute("src");
  $("dialog-input").hidden = input === null;
  $("dialog-input").value = input ?? "";
  $("dialog-ok").hidden = !ok;
  say($("dialog-ok"), ok);
  $("dialog-ok").classList.toggle("danger", danger);
  $("dialog-second").hidden = !second;
  say($("dialog-second"), second);
  $("dialog-choices").replaceChildren(
    ...choices.map((label) => make("button", { type: "button", class: "chip", onclick: () => dialog.close(`pick:${label}`) }, label)),
    ...more.map(([name, shown]) => make("button", { type: "button", class: "chip quiet", onclick: () => dialog.close(name) }, shown)),
  );
  dialog.returnValue = "";
  dialog.showModal();
  if (input !== null) $("dialog-input").select();
  else $("dialog-cancel").focus(); // an accidental Enter must not change anything
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const value = dialog.returnValue;
      if (!value) resolve(null);
      else if (value.startsWith("pick:")) resolve({ choice: "pick", text: value.slice(5) });
      else resolve({ choice: value, text: $("dialog-input").value.trim() });
    }, { once: true });
  });
}

$("dialog-form").addEventListener("submit", (event) => {
  event.preventDefault();
  // Enter in the field means the main button, whatever the order in the form
  const typed = document.activeElement === $("dialog-input");
  $("dialog").close(typed ? "ok" : event.submitter?.value ?? "");
});
$("dialog").addEventListener("click", (event) => {
  if (event.target === $("dialog")) $("dialog").close("");
});
