// Labels: one row each, with its live bar and the button that teaches while it is held.

import { $, attempt, choose, hush, make, post, randomName, say, toast } from "./dom.js";
import { meaning, nameOf, percent, t } from "./lang.js";
import * as order from "./order.js";
import * as phone from "./phone.js";

const EVERY = 200; // milliseconds between the samples of a held button
const STEPS = 200; // lengths of a bar
const rows = new Map(); // label -> row; reused, so that a held button is never replaced
let changed = () => {};
let held = null;
let seen = null; // label of the prediction that is shown; null while it is unknown

export const isTeaching = () => held !== null;
export const labels = () => [...rows.keys()];
export const taughtLabels = () => labels().filter((label) => rows.get(label).samples > 0);

export function setUp(onChange) {
  changed = onChange;
  order.setUp(isTeaching);
  $("add").addEventListener("submit", add);
  $("undo").addEventListener("click", undo);
  listen($("not"), () => (seen === null ? null : denial(seen)));
  listen($("nothing"), () => BACKGROUND);
  document.addEventListener("keydown", shortcut);
  document.addEventListener("keyup", (event) => held?.key === event.key && release());
  document.addEventListener("visibilitychange", () => document.hidden && release());
  window.addEventListener("blur", release);
}

// What a press teaches: its request, what it means, the button that is held, and its row among the labels.
const lesson = (label) => ({ label, path: "/api/teach", body: { label }, meaning: { label }, button: rows.get(label)?.button });
const denial = (label) => ({ label: null, path: "/api/teach/not", body: { label }, meaning: { not: label }, button: $("not") });
const BACKGROUND = { label: null, path: "/api/teach/background", body: {}, meaning: { background: true }, button: $("nothing") };

export function showLabels(list) {
  const names = new Set(list.map((item) => item.label));
  for (const [label, row] of rows) {
    if (!names.has(label)) {
      if (held?.label === label || held?.body.label === label) release();
      row.element.remove();
      rows.delete(label);
    }
  }
  for (const item of list) {
    const row = rows.get(item.label) ?? newRow(item.label);
    showCount(row, item.samples);
    rows.delete(item.label); // the map has the order of the list
    rows.set(item.label, row);
  }
  const taught = list.some((item) => item.samples > 0);
  order.show([...rows.values()], taught ? [unknown] : []);
  $("first").hidden = taught;
  $("one-label").hidden = list.filter((item) => item.samples > 0).length !== 1;
  $("deny").hidden = !taught;
}

export function showScores(prediction) {
  for (const [label, row] of rows) {
    // a label may be called "constructor", so only own properties count
    const share = prediction && Object.hasOwn(prediction.scores, label) ? prediction.scores[label] : 0;
    fill(row, share);
    say(row.share, prediction && row.samples ? percent(share) : "");
    row.element.classList.toggle("best", Boolean(prediction?.known) && prediction.label === label);
  }
  order.follow(prediction);
  showDenial(prediction);
  unknown.classList.toggle("lit", Boolean(prediction) && !prediction.known);
  $("rows").classList.toggle("unsure", Boolean(prediction) && !prediction.known);
}

// With many labels most bars stay as they are, and only a change is drawn.
function fill(row, share) {
  const step = Math.round(STEPS * share);
  if (step === row.step) return;
  row.step = step;
  row.fill.style.transform = `scaleX(${step / STEPS})`;
}

// While the button is held it keeps its label, whatever is predicted meanwhile.
function showDenial(prediction) {
  if (held?.button === $("not")) return;
  const known = prediction?.known && rows.get(prediction.label)?.samples > 0;
  seen = known ? prediction.label : null;
  say($("not"), known ? t("notLabelButton", { label: seen }) : t("notThat"));
  $("not").disabled = !known;
  $("nothing").disabled = !prediction;
}

const unknown = make("li", { class: "unknown" }, make("span", { class: "lamp" }),
  make("span", { class: "name" }, t("unknownRow")), make("span", { class: "count" }, t("unlike")));

function newRow(label) {
  const row = { label, samples: 0 };
  row.count = make("span", { class: "count" });
  row.share = make("span", { class: "share" });
  row.fill = make("span", { class: "fill" });
  row.key = make("kbd", { "aria-hidden": "true" });
  row.hold = make("span", {}, t("hold"));
  row.button = make("button", { type: "button", class: "hold", "aria-label": t("holdLabel", { label }) }, row.hold, row.key);
  const menu = make("button", { type: "button", class: "dots", "aria-label": t("editLabel", { label }), onclick: () => edit(row) }, "⋯");
  row.element = make("li", { class: "row" },
    make("div", { class: "line" }, make("span", { class: "name", title: label }, label), row.share),
    make("div", { class: "bar", "aria-hidden": "true" }, row.fill), row.count, row.button, menu);
  row.element.dataset.label = label;
  listen(row.button, () => lesson(label));
  rows.set(label, row);
  return row;
}

function showCount(row, samples) {
  row.samples = samples;
  say(row.count, samples ? t("samplesCount", { count: samples }) : t("notTaughtYet"));
}

function listen(button, lessonNow) {
  const begin = (key) => { const chosen = lessonNow(); if (chosen) press(chosen, key); };
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    button.setPointerCapture(event.pointerId);
    begin();
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
    button.addEventListener(kind, () => held?.button === button && !held.key && release());
  }
  button.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) begin(event.key);
  });
  // a screen reader or voice control clicks without a pointer and without keys: teach one sample
  button.addEventListener("click", (event) => {
    if (event.detail !== 0 || held) return;
    begin();
    release();
  });
  button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press on a phone
}

function shortcut(event) {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  if (event.target instanceof HTMLElement && event.target.matches("input, select, textarea")) return;
  const label = /^[1-9]$/.test(event.key) ? order.labelAt(Number(event.key) - 1) : undefined;
  if (label !== undefined) press(lesson(label), event.key);
  else if (event.key === "x" && seen !== null) press(denial(seen), event.key);
  else if (event.key === "b" && !$("deny").hidden && !$("nothing").disabled) press(BACKGROUND, event.key);
  else if (event.key === "z") undo();
}

async function press(chosen, key = "") {
  if (held) return;
  const hold = { ...chosen, key, name: nameOf(chosen.meaning), taught: 0, down: true, id: randomName(8) };
  held = hold;
  hush(); // the message about the last press
  showHeld(hold, true);
  showRecording(hold);
  try {
    do await teachOne(hold); while (hold.down);
    await post("/api/release");
  } catch (error) {
    toast(error.message, { bad: true });
  }
  if (held === hold) held = null;
  showHeld(hold, false);
  $("recording").hidden = true;
  if (hold.taught) toast(t("taught", { count: hold.taught, name: hold.name }), { action: t("undo"), run: undo });
  changed();
}

function showHeld({ label, button }, down) {
  const row = rows.get(label);
  if (!row) button?.classList.toggle("held", down);
  row?.element.classList.toggle("held", down);
  if (row) say(row.hold, t(down ? "teachingNow" : "hold"));
}

async function teachOne(hold) {
  const pause = new Promise((resolve) => { hold.wake = resolve; setTimeout(resolve, EVERY); });
  const result = await (phone.isOn() ? phone.teach(hold.meaning, hold.id) : post(hold.path, { ...hold.body, hold: hold.id }));
  hold.taught += 1;
  const row = rows.get(hold.label);
  if (row) showCount(row, result.samples);
  showRecording(hold);
  if (hold.down) await pause;
}

function release() {
  if (!held) return;
  held.down = false;
  held.wake?.();
}

function showRecording(hold) {
  $("recording").hidden = false;
  say($("recording-text"), t("recording", { name: hold.name, count: hold.taught }));
}

async function add(event) {
  event.preventDefault();
  const label = $("add-name").value.trim();
  if (!label) {
    $("add-name").focus();
    return;
  }
  const done = await attempt(() => post("/api/labels/add", { label }));
  if (done) $("add-name").value = "";
  await changed();
  if (done) order.reveal(done.label ?? label);
}

async function undo() {
  const result = await attempt(() => post("/api/undo"));
  if (result) toast(result.undone ? undoneText(result.change) : t("nothingToUndo"));
  changed();
}

const UNDONE = { learn: "undoneLearn", forget: "undoneForget", delete: "undoneDelete", relabel: "undoneRelabel", exclude: "undoneExclude",
  include: "undoneInclude", rename: "undoneRename", merge: "undoneMerge" };
const SEVERAL = { forget: "undoneForgetSeveral", relabel: "undoneRelabelSeveral" };

// What undoing did, to samples of one label or of several.
function undoneText({ action, samples, old, new: now, several }) {
  const key = (several && SEVERAL[action]) || UNDONE[action] || "undone";
  return t(key, { count: samples, old: old && meaning(old), new: now && meaning(now) });
}

async function edit({ label, samples }) {
  const answer = await choose({ title: label, text: t("mergeHint"), input: label, ok: t("rename"), second: t("delete") });
  if (!answer) return;
  if (answer.choice === "second") await remove(label, samples);
  else if (answer.text && answer.text !== label) {
    const done = await attempt(() => post("/api/labels/rename", { old: label, new: answer.text }));
    if (done) toast(t("renamed", { old: label, new: done.label }), samples ? { action: t("undo"), run: undo } : {});
  }
  changed();
}

async function remove(label, samples) {
  const text = samples ? t("deleteSamples", { count: samples }) : t("deleteEmpty");
  const sure = await choose({ title: t("deleteLabel", { label }), text, ok: t("delete"), danger: true });
  if (!sure) return;
  const done = await attempt(() => post("/api/labels/delete", { label }));
  if (done) toast(t("deleted", { label }), samples ? { action: t("undo"), run: undo } : {});
}

export { undo };
