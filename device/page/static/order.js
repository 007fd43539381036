// The order of the labels and the search among them. A few labels need no search and stay in the order of the device.

import { $, arrange, say } from "./dom.js";
import { language, t } from "./lang.js";

const MANY = 8; // number of labels from which they can be searched and sorted
const SETTLE = 1500; // milliseconds that another order must last before the rows move
const REST = 2000; // milliseconds without a touch of the list before its rows move
const WEIGHT = 0.1; // of the newest frame in the mean probability of a label
const STEPS = 4; // labels whose probabilities round to the same step are sorted by samples
const KEYS = 9; // number of rows with a digit key
const BY_NAME = new Intl.Collator(language, { numeric: true });
const STORED = "edgetl.order";

let rows = []; // all rows, in the order of the device
let named = []; // the same, from A to Z
let tail = []; // elements below the rows
let shown = []; // rows that are shown, in the order on the page
let best = null; // row of the label in view, the most likely one lately
let isBusy = () => false;
let order = stored();

export const labelAt = (place) => shown[place]?.label;

export function setUp(busy) {
  isBusy = busy;
  $("order").value = order;
  $("order").addEventListener("change", () => { store($("order").value); place(); $("rows").scrollTop = 0; });
  $("search").addEventListener("input", () => { place(); $("rows").scrollTop = 0; });
  $("search").addEventListener("keydown", searchKey);
  document.addEventListener("keydown", openSearch);
  watchTouches();
}

// Shows these rows, and below them the other elements.
export function show(list, others) {
  const same = equal(list, rows) && equal(others, tail);
  rows = list;
  if (!same) named = [...rows].sort((one, other) => BY_NAME.compare(one.label, other.label));
  tail = others;
  const many = rows.length >= MANY;
  $("labels").classList.toggle("many", many);
  $("find").hidden = !many;
  $("search").placeholder = t("searchMany", { count: rows.length });
  if (!many) $("search").value = "";
  if (same && many) consider();
  else if (isBusy() || (many && touching())) keepPlaces();
  else place();
}

const equal = (one, other) => one.length === other.length && one.every((item, number) => item === other[number]);

// Called with each prediction.
export function follow(prediction) {
  if (!prediction) return;
  for (const row of rows) {
    const share = Object.hasOwn(prediction.scores, row.label) ? prediction.scores[row.label] : 0;
    row.likely = likely(row) * (1 - WEIGHT) + share * WEIGHT;
  }
  if (rows.length >= MANY) consider();
}

// Scrolls the list to a label, and ends a search that hides it.
export function reveal(label) {
  const row = rows.find((one) => one.label === label);
  if (!row) return;
  if (row.element.hidden) { $("search").value = ""; place(); }
  const [box, view] = [row.element, $("rows")].map((element) => element.getBoundingClientRect());
  $("rows").scrollTop += (box.top + box.bottom - view.top - view.bottom) / 2; // only the list: the page stays
}

const likely = (row) => row.likely ?? 0;
const rank = (row) => row === best ? Infinity : Math.round(STEPS * likely(row));
const descending = (one, other) => (one === other ? 0 : other > one ? 1 : -1); // also with Infinity

function sorted() {
  best = rows.reduce((most, row) => (likely(row) > (most ? likely(most) : 0) ? row : most), null);
  if (rows.length < MANY) return rows;
  if (order === "name") return named;
  return [...named].sort((one, other) => descending(rank(one), rank(other)) || other.samples - one.samples); // stable
}

// Rows move only after another order has lasted, so that no button moves while it is aimed at.
let timer = 0;
let current = "";
let pending = "";
const markOf = (list) => JSON.stringify([best?.label, list.map((row) => row.label)]);

function consider() {
  const mark = markOf(sorted());
  if (mark === pending) return;
  pending = mark;
  clearTimeout(timer);
  timer = mark === current ? 0 : setTimeout(settle, SETTLE);
}

function settle() {
  if (isBusy() || touching()) timer = setTimeout(settle, SETTLE);
  else place();
}

// New rows are added below the others while a button is held; the order follows later.
function keepPlaces() {
  const known = new Set(rows);
  const list = [...shown.filter((row) => known.has(row)), ...rows.filter((row) => !shown.includes(row))];
  draw(list);
  clearTimeout(timer);
  timer = setTimeout(settle, SETTLE);
}

function place() {
  const list = sorted();
  clearTimeout(timer);
  current = pending = markOf(list);
  draw(list);
  for (const row of rows) row.element.classList.toggle("pinned", row === best);
}

function draw(list) {
  const focused = document.activeElement;
  const wanted = wordsOf($("search").value);
  shown = list.filter((row) => matches(row, wanted));
  const places = new Map(shown.map((row, number) => [row, number]));
  for (const row of rows) row.element.hidden = !places.has(row);
  arrange($("rows"), [...list.map((row) => row.element), ...tail]);
  if (focused !== document.activeElement && $("rows").contains(focused)) focused.focus({ preventScroll: true });
  for (const row of rows) say(row.key, places.get(row) < KEYS ? places.get(row) + 1 : "");
  showMatches(wanted);
}

function showMatches(wanted) {
  $("matches").hidden = wanted.length === 0;
  if (wanted.length === 0) say($("matches"), "");
  else say($("matches"), shown.length ? t("matches", { found: shown.length, count: rows.length }) : t("noMatch"));
}

// Case and accents do not matter, and words match in any order.
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const wordsOf = (text) => plain(text).split(/\s+/).filter(Boolean);
const matches = (row, wanted) => wanted.every((word) => (row.plain ??= plain(row.label)).includes(word));

function searchKey(event) {
  if (event.key === "Enter" && shown.length) shown[0].button.focus();
  else if (event.key === "Escape") { event.target.value = ""; place(); event.target.blur(); }
  else return;
  event.preventDefault();
}

function openSearch(event) {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || $("find").hidden || $("dialog").open) return;
  if (event.target instanceof HTMLElement && event.target.matches("input, select, textarea")) return;
  event.preventDefault();
  $("search").select();
}

// Fingers and the mouse on the list, and how long ago something moved there.
let fingers = 0;
let last = -Infinity;
const touching = () => fingers > 0 || performance.now() - last < REST;

function watchTouches() {
  const passive = { passive: true };
  for (const kind of ["touchstart", "touchend", "touchcancel"]) {
    document.addEventListener(kind, (event) => { fingers = event.touches.length; }, passive);
  }
  for (const kind of ["pointerdown", "pointermove", "wheel", "touchend", "focusin"]) {
    $("rows").addEventListener(kind, () => { last = performance.now(); }, passive);
  }
}

function stored() {
  try {
    return localStorage.getItem(STORED) === "name" ? "name" : "likely";
  } catch {
    return "likely"; // the browser keeps nothing
  }
}

function store(choice) {
  order = choice;
  try {
    localStorage.setItem(STORED, choice);
  } catch { /* the choice lasts until the page is closed */ }
}
