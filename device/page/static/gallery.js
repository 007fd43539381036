// Pictures that can be corrected: uncertain frames and taught samples.

import { $, at, arrange, attempt, choose, get, make, percent, post, toast } from "./dom.js";
import { labels, taughtLabels, undo } from "./teach.js";

const PAGE = 48;
const MOST = 576;
let limit = PAGE;
let changed = () => {};
let asked = ""; // what the queue shows

export function setUp(onChange) {
  changed = onChange;
  $("filter").addEventListener("change", () => { limit = PAGE; loadSamples(); });
  $("more").addEventListener("click", () => { limit = Math.min(limit + PAGE, MOST); loadSamples(); });
}

export function showFilter(list, negatives, background) {
  const taught = list.filter((item) => item.samples > 0);
  const chosen = $("filter").value;
  const options = taught.map((item) => make("option", { value: `=${item.label}` }, `${item.label} (${item.samples})`));
  for (const [label, count] of Object.entries(negatives)) options.push(make("option", { value: `!${label}` }, `not ${label} (${count})`));
  if (background) options.push(make("option", { value: "~" }, `background (${background})`));
  $("filter").replaceChildren(make("option", { value: "" }, "All labels"), ...options);
  $("filter").value = options.some((option) => option.value === chosen) ? chosen : "";
  $("samples").hidden = options.length === 0;
}

export async function loadSamples() {
  const label = $("filter").value; // its first character is the kind
  const query = new URLSearchParams({ limit: String(limit) });
  if (label === "~") query.set("background", "true");
  else if (label) query.set(label[0] === "!" ? "not" : "label", label.slice(1));
  const { samples } = await get(`/api/samples?${query}`);
  const old = new Map([...$("grid").children].map((item) => [item.dataset.key, item]));
  arrange($("grid"), samples.map((sample) => old.get(keyOf(sample, label)) ?? newSample(sample, label)));
  $("more").hidden = samples.length < limit || limit >= MOST;
}

export function markSuspects(ids) {
  const suspects = new Set(ids.map(String));
  for (const item of $("grid").children) item.classList.toggle("suspect", suspects.has(item.dataset.key.split("/")[0]));
}

const keyOf = (sample, filter) => `${sample.id}/${sample.meaning}/${filter ? 1 : 0}`;

function newSample(sample, filter) {
  const picture = sample.thumbnail
    ? make("img", { src: at(`/api/samples/${sample.id}.jpg`), alt: "", loading: "lazy", decoding: "async" })
    : make("span", { class: "blank" }, "no picture");
  const when = new Date(1000 * sample.time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  const button = make("button", { type: "button", "aria-label": `Sample ${sample.id} of ${sample.meaning}, ${when}`, onclick: () => correct(sample, when) }, picture);
  if (!filter) button.append(make("span", { class: "tag" }, sample.meaning));
  const item = make("li", {}, button);
  item.dataset.key = keyOf(sample, filter);
  return item;
}

async function correct(sample, when) {
  const others = labels().filter((label) => label !== sample.label);
  const answer = await choose({
    title: sample.meaning,
    text: `Taught ${when}.${others.length ? " To correct the sample, choose another label." : ""}`,
    image: sample.thumbnail ? at(`/api/samples/${sample.id}.jpg`) : "",
    choices: others,
    second: "Forget",
  });
  if (!answer) return;
  const work = answer.choice === "pick"
    ? () => post("/api/samples/relabel", { id: sample.id, label: answer.text })
    : () => post("/api/samples/forget", { id: sample.id });
  const done = await attempt(work);
  if (done) toast(answer.choice === "pick" ? `Relabeled as ${answer.text}.` : "Sample forgotten.", { action: "Undo", run: undo });
  changed();
}

export async function loadDoubts() {
  const { doubts } = await get("/api/doubts");
  const names = labels();
  const now = JSON.stringify([doubts.map((doubt) => doubt.id), names]);
  // shown before the first frame arrives, so that the layout does not shift under a finger
  $("doubts").hidden = taughtLabels().length < 2 && doubts.length === 0;
  $("no-doubts").hidden = doubts.length > 0;
  $("doubts-note").hidden = doubts.length === 0;
  if (now === asked) return;
  asked = now;
  showCards(doubts, names);
}

// Cards that stay keep their places, and new ones take the places of removed cards, so that nothing moves under a finger.
function showCards(doubts, names) {
  const wanted = new Map(doubts.map((doubt) => [JSON.stringify([doubt.id, doubt.prediction.label, doubt.prediction.known, names]), doubt]));
  const places = [...$("cards").children].map((card) => (!card.inert && wanted.has(card.dataset.key) ? card : null));
  for (const card of places) wanted.delete(card?.dataset.key);
  const fresh = [...wanted].map(([key, doubt]) => newCard(doubt, names, key));
  const filled = places.map((card) => card ?? fresh.shift()).filter(Boolean);
  arrange($("cards"), [...filled, ...fresh]);
}

function newCard(doubt, names, key) {
  const ranked = Object.entries(doubt.prediction.scores).sort((one, other) => other[1] - one[1]); // JSON sorts keys that are digits
  const likely = ranked.map(([label]) => label).filter((label) => names.includes(label)).slice(0, 3);
  const guess = doubt.prediction.known ? `${doubt.prediction.label}, ${percent(doubt.prediction.probability)}?` : "Unlike anything taught";
  const card = make("li", { class: "card" },
    make("img", { src: at(`/api/doubts/${doubt.id}.jpg`), alt: `Uncertain frame ${doubt.id}`, onerror: () => card.remove() }),
    make("p", { class: "guess" }, guess));
  const answer = (label) => settle(card, () => post("/api/doubts/answer", { id: doubt.id, label }), `Taught as ${label}.`);
  const chips = likely.map((label) => make("button", { type: "button", class: "chip", title: label, onclick: () => answer(label) }, make("span", {}, label)));
  chips.push(
    make("button", { type: "button", class: "chip quiet", onclick: () => other(names, answer) }, "Other…"),
    make("button", { type: "button", class: "chip quiet", onclick: () => settle(card, () => post("/api/doubts/skip", { id: doubt.id })) }, "Skip"));
  card.append(make("div", { class: "chips" }, ...chips));
  card.dataset.key = key;
  return card;
}

async function other(names, answer) {
  const chosen = await choose({ title: "What is it?", choices: names, input: "", ok: "Teach" });
  if (chosen?.text) answer(chosen.text);
}

async function settle(card, work, message = "") {
  card.inert = true;
  const done = await attempt(work);
  if (done && message) toast(message, { action: "Undo", run: undo });
  asked = "";
  changed();
}
