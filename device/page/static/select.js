// Selecting several samples, to relabel, exclude or forget them in one change.

import { $, attempt, choose, hush, plural, post, say, toast } from "./dom.js";
import { labels, undo } from "./teach.js";

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
  $("select-exclude").addEventListener("click", () => apply(view === "excluded" ? "include" : "exclude"));
  $("select-forget").addEventListener("click", () => apply("forget"));
  document.addEventListener("keydown", (event) => { if (on && event.key === "Escape" && !$("dialog").open) switchTo(false); });
}

export const isSelecting = () => on;

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
  say($("selected"), chosen.size ? `${plural(chosen.size, "sample")} selected` : "Tap the samples to select; with Shift, a range.");
  say($("select-exclude"), view === "excluded" ? "Include" : "Exclude");
  for (const id of ["alike", "relabel", "exclude", "forget"]) $(`select-${id}`).disabled = chosen.size === 0;
}

const items = () => [...$("grid").children];
const numberOf = (item) => Number(item.dataset.key.split("/")[0]);

function switchTo(selecting) {
  on = selecting;
  last = null;
  if (on) hush(); // messages would cover the bar
  else chosen.clear();
  mark();
}

async function addLookAlikes() {
  const wanted = { like: [...chosen], excluded: view === "excluded" };
  // a dry run changes nothing and returns the ids
  const action = view === "excluded" ? "include" : "exclude";
  const found = await attempt(() => post("/api/v1/samples/correct", { select: wanted, action, dry_run: true }));
  if (!found) return;
  const before = chosen.size;
  for (const id of found.ids) chosen.add(id);
  if (chosen.size === before) toast("No other sample looks like them.");
  mark();
}

async function relabel() {
  const answer = await choose({
    title: `Relabel ${plural(chosen.size, "sample")}`,
    text: "Choose the right label, or type a new one.",
    choices: labels(),
    input: "",
    ok: "Relabel",
    second: view === "mislabeled" ? "As suggested" : "",
  });
  if (answer?.choice === "second") await apply("relabel", null);
  else if (answer?.text) await apply("relabel", answer.text);
}

const DONE = { relabel: "relabeled", exclude: "excluded", include: "included", forget: "forgotten" };

async function apply(action, label = null) {
  const select = { ids: [...chosen], excluded: view === "excluded" };
  if (action === "relabel" && label === null) select.mislabeled = true;
  const done = await attempt(() => post("/api/v1/samples/correct", { select, action, ...(label === null ? {} : { label }) }));
  if (!done) return;
  const target = label === null ? (action === "relabel" ? " as suggested" : "") : ` as ${label}`;
  toast(`${plural(done.ids.length, "sample")} ${DONE[action]}${target}. ${countsText(done)}`, { action: "Undo", run: undo });
  switchTo(false);
  changed();
}

// The labels that the change touched, with their number of samples now.
function countsText({ moved, label, suggested, counts }) {
  const touched = new Set([...Object.keys(moved), ...(label ? [label] : []), ...Object.values(suggested)]);
  return `Now ${[...touched].sort().map((name) => `${name} ${counts[name] ?? 0}`).join(", ")}.`;
}
