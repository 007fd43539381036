// The accuracy: each sample is predicted by a model without it.

import { $, at, make, percent, plural, say, sentence } from "./dom.js";

const FEW = 6; // maximum number of labels whose table is easy to read
const SENTENCES = 8; // of the forecast
const SPLITS = 3; // labels that seem to hold two things
const WORST = 8; // number of confusions listed where there are more labels

export function showReport(status) {
  const report = status.report;
  $("report").hidden = !report;
  if (!report) return;
  const known = report.accuracy !== null && report.labels.length > 1;
  say($("accuracy"), known ? percent(report.accuracy) : "–");
  say($("accuracy-note"), known
    ? `correct, with each of ${plural(report.samples, "sample")} left out in turn; probably between ${Math.round(100 * report.interval[0])} and ${percent(report.interval[1])}.`
    : "Teach a second label to see how well the two are distinguished.");
  const behind = status.behind;
  $("behind").hidden = !behind;
  say($("behind"), behind ? `From before the latest change of ${plural(behind, "sample")}; a new estimate is being made.` : "");
  $("warnings").hidden = !known;
  $("warnings").replaceChildren(...report.warnings.map((text) => make("li", {}, `${sentence(text)}.`)));
  const suspects = report.suspects.length;
  $("suspects").hidden = !suspects;
  say($("suspects"), suspects ? `${plural(suspects, "sample looks", "samples look")} mislabeled and ${suspects === 1 ? "is" : "are"} marked below.` : "");
  showForecast(status.forecast, known);
  showComparisons(report);
  showConfusion(report, known);
}

function showForecast(forecast, known) {
  $("forecast").hidden = !forecast || !known;
  if (!forecast) return;
  $("forecast").replaceChildren(...forecast.text.slice(0, SENTENCES).map((text) => make("li", {}, `${text}.`)));
}

// Pictures side by side: of the two labels that are mixed up most, and of the two things that a label seems to hold.
function showComparisons({ mixed, splits }) {
  const shown = splits.slice(0, SPLITS).map((split) => comparison(
    `${split.label} seems to hold two things. If these differ, teach them as two labels:`,
    split.parts.map((share) => `${percent(share)} of its views`), split.samples));
  if (mixed) {
    const text = `Mixed up most: ${mixed.labels[0]} and ${mixed.labels[1]}, ${plural(mixed.count, "sample")}. These look most alike:`;
    shown.unshift(comparison(text, mixed.labels, mixed.samples));
  }
  $("comparisons").replaceChildren(...shown);
}

function comparison(text, titles, samples) {
  const sides = titles.map((title, side) => make("div", {}, make("b", {}, title),
    make("div", { class: "pictures" }, ...samples[side].map((id) =>
      make("img", { src: at(`/api/samples/${id}.jpg`), alt: `Sample ${id}`, loading: "lazy", onerror: (event) => event.target.remove() })))));
  return make("figure", { class: "comparison" }, make("figcaption", {}, text), make("div", { class: "sides" }, ...sides));
}

function showConfusion({ labels, confusion, confused }, known) {
  const table = $("confusion");
  const many = labels.length > FEW;
  $("confusions").hidden = !known;
  $("confused").hidden = !known || !many;
  if (!known) return;
  if (!many) $("confusions").open = true; // its summary is hidden, so it cannot be closed
  $("confusions").classList.toggle("few", !many);
  say($("confusions-title"), `Confusion matrix of all ${labels.length} labels`);
  const totals = new Map(labels.map((label, taught) => [label, confusion[taught].reduce((sum, value) => sum + value, 0)]));
  $("confused").replaceChildren(...confused.slice(0, WORST).map(([taught, predicted, count]) => make("li", {},
    make("span", {}, make("b", {}, taught), " predicted as ", make("b", {}, predicted)),
    make("span", { class: "often" }, `${count} of ${totals.get(taught)}`))));
  if (!confused.length) $("confused").append(make("li", {}, "No label was confused with another."));
  draw = () => {
    if (table.confusion === confusion || !$("confusions").open) return;
    table.confusion = confusion;
    fillTable(table, labels, confusion);
  };
  draw();
}

let draw = () => {};
$("confusions").addEventListener("toggle", () => draw());

// Drawn only while it is visible: a hundred labels make ten thousand cells.
function fillTable(table, labels, confusion) {
  table.style.setProperty("--labels", labels.length);
  const head = make("tr", {}, make("th", { class: "corner", scope: "col" }, "taught ↓ predicted →"),
    ...labels.map((label) => make("th", { scope: "col", title: label }, make("span", {}, label))));
  const body = confusion.map((row, taught) => {
    const total = row.reduce((sum, value) => sum + value, 0);
    return make("tr", {}, make("th", { scope: "row", title: labels[taught] }, make("span", {}, labels[taught])),
      ...row.map((value, predicted) => newCell(value, total, taught === predicted)));
  });
  table.replaceChildren(make("caption", { class: "sr" }, "Confusion matrix: taught labels in rows, predicted labels in columns"),
    make("thead", {}, head), make("tbody", {}, ...body));
}

function newCell(value, total, right) {
  if (!value) return document.createElement("td");
  const cell = make("td", { class: right ? "right" : "wrong" }, String(value));
  const share = value / total;
  cell.style.setProperty("--share", String(0.12 + 0.88 * share));
  cell.classList.toggle("strong", share > 0.5);
  return cell;
}
