// Pictures that can be corrected: uncertain frames and taught samples.

import { $, at, arrange, attempt, choose, get, make, post, say, toast } from "./dom.js";
import { meaningOf, moment, nameOf, percent, t } from "./lang.js";
import * as select from "./select.js";
import { labels, taughtLabels, undo } from "./teach.js";

const PAGE = matchMedia("(max-width: 899px)").matches ? 60 : 120; // maximum number of samples shown at a time
const CARDS = 24; // maximum number of groups of uncertain frames
const SHOWN = 3; // look-alikes with a picture
let starts = [null]; // of each page of samples up to the one shown: the id before which it begins
let totals = new Map(); // choice of the filter -> number of samples
let changed = () => {};
let asked = ""; // what the queue shows
let suspects = new Set(); // ids
let excluded = 0;

export function setUp(onChange) {
  changed = onChange;
  select.setUp(onChange);
  $("filter").addEventListener("change", () => { starts = [null]; loadSamples(); });
  $("older").addEventListener("click", () => turn(() => starts.push(select.numberOf($("grid").lastChild))));
  $("newer").addEventListener("click", () => turn(() => starts.pop()));
}

async function turn(page) {
  page();
  await loadSamples();
  $("samples").scrollIntoView({ block: "start" });
}

export function showFilter(list, negatives, background) {
  const taught = list.filter((item) => item.samples > 0);
  const options = taught.map((item) => make("option", { value: `=${item.label}` }, counted(item.label, item.samples)));
  const more = [["?mislabeled", t("mislabeled"), suspects.size], ["?excluded", t("excluded"), excluded]]
    .filter(([, , count]) => count > 0)
    .map(([value, text, count]) => make("option", { value }, counted(text, count)));
  for (const [label, count] of Object.entries(negatives)) options.push(make("option", { value: `!${label}` }, counted(t("notLabel", { label }), count)));
  if (background) options.push(make("option", { value: "~" }, counted(t("background"), background)));
  const counts = [...taught.map((item) => [`=${item.label}`, item.samples]), ...Object.entries(negatives).map(([label, count]) => [`!${label}`, count]), ["~", background]];
  totals = new Map([["", counts.reduce((sum, [, count]) => sum + count, 0)], ...counts]);
  setOptions([make("option", { value: "" }, t("allLabels")), ...options, ...more]);
  $("samples").hidden = options.length === 0 && excluded === 0;
}

const counted = (name, count) => t("option", { name, count });

function setOptions(options) {
  const same = (option, place) => $("filter").children[place]?.value === option.value && $("filter").children[place].textContent === option.textContent;
  if (options.length === $("filter").children.length && options.every(same)) return; // a list that is open stays open
  const chosen = $("filter").value;
  $("filter").replaceChildren(...options);
  $("filter").value = options.some((option) => option.value === chosen) ? chosen : "";
}

// Adds or removes the part of the filter that needs the report or the list of samples.
function showCounts(value, text, count) {
  const others = [...$("filter").children].filter((option) => option.value !== value);
  const own = count ? [make("option", { value }, counted(text, count))] : [];
  const now = [...$("filter").children].find((option) => option.value === value)?.textContent ?? "";
  if (now !== (own[0]?.textContent ?? "")) setOptions([...others, ...own]);
}

export async function loadSamples() {
  const filter = $("filter").value; // its first character is the kind
  const view = filter.startsWith("?") ? filter.slice(1) : "";
  const label = view ? "" : filter;
  const start = starts.at(-1);
  const query = new URLSearchParams({ limit: String(PAGE) });
  if (start !== null) query.set("before", String(start));
  if (view) query.set(view, "true");
  else if (label === "~") query.set("background", "true");
  else if (label) query.set(label[0] === "!" ? "not" : "label", label.slice(1));
  const found = await get(`/api/samples?${query}`);
  if ($("filter").value !== filter || starts.at(-1) !== start) return undefined; // another choice was made meanwhile
  const { samples } = found;
  if (samples.length === 0 && start !== null) {
    starts.pop(); // all samples of this page were forgotten
    return loadSamples();
  }
  excluded = found.excluded;
  showCounts("?excluded", t("excluded"), excluded);
  const old = new Map([...$("grid").children].map((item) => [item.dataset.key, item]));
  arrange($("grid"), samples.map((sample) => old.get(keyOf(sample, label)) ?? newSample(sample, label)));
  showPlace(samples.length, filter);
  return select.showView(view);
}

function showPlace(count, filter) {
  const first = PAGE * (starts.length - 1);
  $("older").disabled = count < PAGE;
  $("newer").disabled = starts.length === 1;
  $("pager").hidden = filter === "?mislabeled" || ($("older").disabled && $("newer").disabled);
  const total = totals.get(filter);
  say($("place"), t(total === undefined ? "place" : "placeOf", { first: first + 1, last: first + count, total }));
}

export function markSuspects(ids) {
  suspects = new Set(ids);
  showCounts("?mislabeled", t("mislabeled"), suspects.size);
  for (const item of $("grid").children) item.classList.toggle("suspect", suspects.has(select.numberOf(item)));
}

const keyOf = (sample, filter) => `${sample.id}/${sample.meaning}/${filter ? 1 : 0}`;

function newSample(sample, filter) {
  const picture = sample.thumbnail
    ? make("img", { src: at(`/api/samples/${sample.id}.jpg`), alt: "", loading: "lazy", decoding: "async" })
    : make("span", { class: "blank" }, t("withoutPicture"));
  const when = moment(sample.time);
  const clicked = (event) => (select.isSelecting() || event.shiftKey ? select.pick(item, event) : correct(sample, when));
  const button = make("button", { type: "button", "aria-label": t("sampleName", { id: sample.id, name: meaningOf(sample), when }), onclick: clicked }, picture);
  if (!filter) button.append(make("span", { class: "tag" }, meaningOf(sample)));
  const item = make("li", {}, button);
  item.dataset.key = keyOf(sample, filter);
  if (sample.label !== null) item.dataset.label = sample.label;
  item.classList.toggle("suspect", suspects.has(sample.id));
  return item;
}

async function correct(sample, when) {
  const others = labels().filter((label) => label !== sample.label);
  const answer = await choose({
    title: meaningOf(sample),
    text: t("correct", { when }),
    image: sample.thumbnail ? at(`/api/samples/${sample.id}.jpg`) : "",
    choices: others,
    more: [...(sample.label === null ? [] : [["not", t("notLabelButton", { label: sample.label })]]), ...(sample.meaning === "background" && sample.label === null ? [] : [["background", t("nothing")]])],
    second: t("forgetSample"),
  });
  if (!answer) return;
  if (answer.choice === "second") await forget(sample);
  else await relabel(sample, answer);
  changed();
}

async function forget(sample) {
  const done = await attempt(() => post("/api/samples/forget", { id: sample.id }));
  if (done) toast(t("sampleForgotten"), { action: t("undo"), run: undo });
}

async function relabel(sample, { choice, text }) {
  const meaning = choice === "not" ? { not: sample.label } : choice === "background" ? { background: true } : { label: text };
  const one = { ids: [sample.id], excluded: select.viewName() === "excluded" };
  const done = await attempt(() => post("/api/v1/samples/correct", { select: one, action: "relabel", ...meaning }));
  if (done) toast(t("relabeledAs", { name: nameOf(meaning) }), { action: t("undo"), run: undo });
}

export async function loadDoubts() {
  const { doubts: listed, problem } = await get("/api/doubts");
  const doubts = inGroups(listed).slice(0, CARDS);
  $("doubts-problem").hidden = !problem;
  say($("doubts-problem"), problem ? t("sentence", { text: problem }) : "");
  const names = labels();
  const now = JSON.stringify([doubts.map((doubt) => doubt.members), names]);
  // shown before the first frame arrives, so that the layout does not shift under a finger
  $("doubts").hidden = taughtLabels().length < 2 && doubts.length === 0;
  $("no-doubts").hidden = doubts.length > 0;
  $("doubts-note").hidden = doubts.length === 0;
  if (now === asked) return;
  asked = now;
  showCards(doubts, names);
}

// One entry per group of look-alikes: its first frame, with the ids of all.
function inGroups(doubts) {
  const members = new Map();
  for (const doubt of doubts) members.set(doubt.group, [...(members.get(doubt.group) ?? []), doubt.id]);
  return doubts.filter((doubt) => doubt.group === doubt.id).map((doubt) => ({ ...doubt, members: members.get(doubt.id) }));
}

// Cards that stay keep their places, and new ones take the places of removed cards, so that nothing moves under a finger.
function showCards(doubts, names) {
  const wanted = new Map(doubts.map((doubt) => [JSON.stringify([doubt.members, doubt.prediction.label, doubt.prediction.known, names]), doubt]));
  const places = [...$("cards").children].map((card) => (!card.inert && wanted.has(card.dataset.key) ? card : null));
  for (const card of places) wanted.delete(card?.dataset.key);
  const fresh = [...wanted].map(([key, doubt]) => newCard(doubt, names, key));
  const filled = places.map((card) => card ?? fresh.shift()).filter(Boolean);
  arrange($("cards"), [...filled, ...fresh]);
}

function newCard(doubt, names, key) {
  const ranked = Object.entries(doubt.prediction.scores).sort((one, other) => other[1] - one[1]); // JSON sorts keys that are digits
  const likely = ranked.map(([label]) => label).filter((label) => names.includes(label)).slice(0, 3);
  const guess = doubt.prediction.known ? t("guess", { label: doubt.prediction.label, share: percent(doubt.prediction.probability) }) : t("unlikeAnything");
  const card = make("li", { class: "card" },
    make("img", { src: at(`/api/doubts/${doubt.id}.jpg`), alt: t("doubtPicture", { id: doubt.id }), onerror: () => card.remove() }),
    make("p", { class: "guess" }, guess));
  const others = doubt.members.slice(1);
  const together = make("button", { type: "button", class: "together", "aria-pressed": "true", onclick: press }, t("andLookAlikes", { count: others.length }));
  if (others.length) card.append(lookAlikes(others, together));
  const ids = () => (together.getAttribute("aria-pressed") === "true" ? doubt.members : [doubt.id]);
  const teach = (meaning) => {
    const chosen = ids();
    const message = t(chosen.length > 1 ? "framesTaughtAs" : "taughtAs", { count: chosen.length, name: nameOf(meaning) });
    return settle(card, () => post("/api/v1/doubts/teach", { ids: chosen, ...meaning }), message);
  };
  const answer = (label) => teach({ label });
  const chips = likely.map((label) => make("button", { type: "button", class: "chip", title: label, onclick: () => answer(label) }, make("span", {}, label)));
  const denied = doubt.prediction.known ? doubt.prediction.label : null;
  if (taughtLabels().includes(denied)) chips.push(make("button", { type: "button", class: "chip quiet", title: t("teachNot", { label: denied }), onclick: () => teach({ not: denied }) }, make("span", {}, t("notLabelButton", { label: denied }))));
  chips.push(
    make("button", { type: "button", class: "chip quiet", title: t("noLabel"), onclick: () => teach({ background: true }) }, t("nothing")),
    make("button", { type: "button", class: "chip quiet", onclick: () => other(names, answer) }, t("other")),
    make("button", { type: "button", class: "chip quiet", onclick: () => settle(card, () => post("/api/v1/doubts/drop", { ids: ids() })) }, t("skip")));
  card.append(make("div", { class: "chips" }, ...chips));
  card.dataset.key = key;
  return card;
}

const press = ({ currentTarget: button }) => button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));

// The look-alikes of a card's frame, which get the same label unless the button is released.
function lookAlikes(others, together) {
  const pictures = others.slice(0, SHOWN).map((id) => make("img", { src: at(`/api/doubts/${id}.jpg`), alt: t("lookAlikePicture", { id }), loading: "lazy" }));
  if (others.length > SHOWN) pictures.push(make("span", { class: "rest" }, `+${others.length - SHOWN}`));
  return make("div", { class: "alike" }, ...pictures, together);
}

async function other(names, answer) {
  const chosen = await choose({ title: t("whatIsIt"), choices: names, input: "", ok: t("teach") });
  if (chosen?.text) answer(chosen.text);
}

async function settle(card, work, message = "") {
  card.inert = true;
  const done = await attempt(work);
  if (done && message) toast(message, { action: t("undo"), run: undo });
  asked = "";
  changed();
}
