// Selecting several samples, to relabel, exclude or forget them in one change.

import { $, attempt, choose, hush, post, say, toast } from "./dom.js";
import { list, meaning as shownMeaning, nameOf, t } from "./lang.js";
import { labels, taughtLabels, undo } from "./teach.js";

const chosen = new Set();
let on = false;
let last = null; // the sample where a range begins
let view = ""; // which samples the grid shows: "", "excluded" or "mislabeled"
let changed = () => {};

export function setUp(onChange) {
  changed = onChange;
  $("select").addEventListener("click", () => switchTo(!on));
  $("select-done").addEventListener("click", () => switchTo(false));
  $("select-all").addEventListener("click", () => { for (const item of items()) chosen.add(numberOf(item)); mark(); });
  $("select-alike").addEventListener("click", addLookAlikes);
  $("select-relabel").addEventListener("click", relabel);
  $("select-not").addEventListener("click", deny);
  $("select-nothing").addEventListener("click", () => apply("relabel", { background: true }));
  $("select-exclude").addEventListener("click", () => apply(view === "excluded" ? "include" : "exclude"));
  $("select-forget").addEventListener("click", () => apply("forget"));
  document.addEventListener("keydown", (event) => { if (on && event.key === "Escape" && !$("dialog").open) switchTo(false); });
}

export const isSelecting = () => on;
export const viewName = () => view;

// Another part of the samples is shown: what was selected there is not visible anymore.
export function showView(name) {
  if (name !== view) chosen.clear();
  view = name;
  mark();
}

export function pick(item, event) {
  if (!on) switchTo(true);
  const all = items();
  const from = all.indexOf(last);
  const to = all.indexOf(item);
  if (event.shiftKey && from >= 0) {
    for (const one of all.slice(Math.min(from, to), Math.max(from, to) + 1)) chosen.add(numberOf(one));
  } else if (!chosen.delete(numberOf(item))) {
    chosen.add(numberOf(item));
  }
  last = item;
  mark();
}

// Shows what is selected, also on pictures that were just added.
export function mark() {
  for (const item of items()) {
    const selected = on && chosen.has(numberOf(item));
    item.classList.toggle("chosen", selected);
    const button = item.querySelector("button");
    if (on) button.setAttribute("aria-pressed", String(selected));
    else button.removeAttribute("aria-pressed");
  }
  $("select").setAttribute("aria-pressed", String(on));
  $("selection").hidden = !on;
  say($("selected"), chosen.size ? t("selected", { count: chosen.size }) : t("selectHow"));
  say($("select-exclude"), t(view === "excluded" ? "include" : "exclude"));
  const label = commonLabel();
  say($("select-not"), label === null ? t("notMore") : t("notLabelButton", { label }));
  for (const id of ["alike", "relabel", "not", "nothing", "exclude", "forget"]) $(`select-${id}`).disabled = chosen.size === 0;
}

const items = () => [...$("grid").children];
export const numberOf = (item) => Number(item.dataset.key.split("/")[0]);

function switchTo(selecting) {
  on = selecting;
  last = null;
  if (on) hush(); // messages would cover the bar
  else chosen.clear();
  mark();
}

// The label that all selected samples have; null where there are several, or look-alikes that are not shown.
function commonLabel() {
  const known = new Map(items().map((item) => [numberOf(item), item.dataset.label ?? null]));
  const found = new Set([...chosen].map((id) => known.get(id) ?? null));
  return found.size === 1 ? [...found][0] : null;
}

async function addLookAlikes() {
  const wanted = { like: [...chosen], excluded: view === "excluded" };
  // a dry run changes nothing and returns the ids
  const action = view === "excluded" ? "include" : "exclude";
  const found = await attempt(() => post("/api/v1/samples/correct", { select: wanted, action, dry_run: true }));
  if (!found) return;
  const before = chosen.size;
  for (const id of found.ids) chosen.add(id);
  if (chosen.size === before) toast(t("noLookAlikes"));
  mark();
}

async function relabel() {
  const answer = await choose({
    title: t("relabelMany", { count: chosen.size }),
    text: t("relabelHow"),
    choices: labels(),
    input: "",
    ok: t("relabel"),
    second: view === "mislabeled" ? t("asSuggested") : "",
  });
  if (answer?.choice === "second") await apply("relabel", {});
  else if (answer?.text) await apply("relabel", { label: answer.text });
}

async function deny() {
  const common = commonLabel();
  const label = common ?? (await choose({ title: t("whatNot", { count: chosen.size }), choices: taughtLabels() }))?.text;
  if (label) await apply("relabel", { not: label });
}

const DONE = { relabel: "doneRelabel", suggested: "doneSuggested", exclude: "doneExclude", include: "doneInclude", forget: "doneForget" };

// The target of relabel is a label, what the samples are not, or background; without one, the suggested labels.
async function apply(action, target = {}) {
  const select = { ids: [...chosen], excluded: view === "excluded" };
  const suggested = action === "relabel" && Object.keys(target).length === 0;
  if (suggested) select.mislabeled = true;
  const done = await attempt(() => post("/api/v1/samples/correct", { select, action, ...target }));
  if (!done) return;
  const text = t(DONE[suggested ? "suggested" : action], { count: done.ids.length, name: nameOf(target) });
  toast(`${text} ${countsText(done)}`, { action: t("undo"), run: undo });
  switchTo(false);
  changed();
}

// What the change touched, with the number of samples now.
function countsText({ moved, meaning, suggested, counts, negatives, background }) {
  const touched = new Set([...Object.keys(moved), ...(meaning ? [meaning] : []), ...Object.values(suggested)]);
  const denied = Object.entries(negatives).map(([label, count]) => [`not ${label}`, count]);
  const numbers = new Map([["background", background], ...denied, ...Object.entries(counts)]);
  const named = (name) => (Object.hasOwn(counts, name) ? name : shownMeaning(name));
  return t("nowCounts", { counts: list([...touched].sort().map((name) => t("nameCount", { name: named(name), count: numbers.get(name) ?? 0 }))) });
}
