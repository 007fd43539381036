// The accuracy: each sample is predicted by a model without it.

import { $, at, make, say, sentence } from "./dom.js";
import { list, message, percent, t } from "./lang.js";

const FEW = 6; // maximum number of labels whose table is easy to read
const SENTENCES = 8; // of the forecast
const POINTS = 2; // that a label gains at most when it is done, as in device/heads/forecast.py
const VIEWS = 5; // that a label needs for a forecast
const SPLITS = 3; // labels that seem to hold two things
const WORST = 8; // number of confusions listed where there are more labels

export function showReport(status) {
  const report = status.report;
  $("report").hidden = !report;
  if (!report) return;
  const known = report.accuracy !== null && report.labels.length > 1;
  say($("accuracy"), known ? percent(report.accuracy) : "–");
  say($("accuracy-note"), known
    ? t("accuracyNote", { count: report.samples, low: Math.round(100 * report.interval[0]), high: percent(report.interval[1]) })
    : t("accuracyLater"));
  const behind = status.behind;
  $("behind").hidden = !behind;
  say($("behind"), behind ? t("behind", { count: behind }) : "");
  $("warnings").hidden = !known;
  $("warnings").replaceChildren(...report.warnings.map(fromDevice));
  const suspects = report.suspects.length;
  $("suspects").hidden = !suspects;
  say($("suspects"), suspects ? t("suspects", { count: suspects }) : "");
  showForecast(status.forecast, known);
  showComparisons(report);
  showConfusion(report, known);
}

function fromDevice(english) {
  const { text, lang } = message(english);
  return make("li", { lang }, t("sentence", { text: sentence(text) }));
}

function showForecast(forecast, known) {
  $("forecast").hidden = !forecast || !known;
  if (!forecast) return;
  const sentences = forecast.now ? forecastSentences(forecast) : [fromDevice(forecast.reason)];
  $("forecast").replaceChildren(...sentences.slice(0, SENTENCES));
}

// As `Forecast.describe` in device/heads/forecast.py: the label that gains most first.
function forecastSentences({ now, then, labels, too_few: few }) {
  const shares = (one) => ({ then: percent(one.then.accuracy), low: percent(one.then.interval[0]), high: percent(one.then.interval[1]), now: percent(one.now.accuracy) });
  const gain = ([, one]) => one.then.accuracy - one.now.accuracy;
  const gaining = Object.entries(labels).filter(([, one]) => !one.done).sort((one, other) => gain(other) - gain(one));
  const done = Object.keys(labels).filter((label) => labels[label].done);
  const sentences = [t("forecastAll", shares({ now, then })), ...gaining.map(([label, one]) => t("forecastLabel", { label, count: one.more, ...shares(one) }))];
  if (done.length) sentences.push(t("forecastDone", { count: done.length, labels: list(done), points: POINTS }));
  if (few.length) sentences.push(t("forecastFew", { labels: list(few), views: VIEWS }));
  return sentences.map((text) => make("li", {}, text));
}

// Pictures side by side: of the two labels that are mixed up most, and of the two things that a label seems to hold.
function showComparisons({ mixed, splits }) {
  const shown = splits.slice(0, SPLITS).map((split) => comparison(
    t("split", { label: split.label }),
    split.parts.map((share) => t("splitShare", { share: percent(share) })), split.samples));
  if (mixed) {
    const text = t("mixed", { first: mixed.labels[0], second: mixed.labels[1], count: mixed.count });
    shown.unshift(comparison(text, mixed.labels, mixed.samples));
  }
  $("comparisons").replaceChildren(...shown);
}

function comparison(text, titles, samples) {
  const sides = titles.map((title, side) => make("div", {}, make("b", {}, title),
    make("div", { class: "pictures" }, ...samples[side].map((id) =>
      make("img", { src: at(`/api/samples/${id}.jpg`), alt: t("samplePicture", { id }), loading: "lazy", onerror: (event) => event.target.remove() })))));
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
  say($("confusions-title"), t("matrixOf", { count: labels.length }));
  const totals = new Map(labels.map((label, taught) => [label, confusion[taught].reduce((sum, value) => sum + value, 0)]));
  $("confused").replaceChildren(...confused.slice(0, WORST).map(([taught, predicted, count]) => make("li", {},
    make("span", {}, make("b", {}, taught), ` ${t("predictedAs")} `, make("b", {}, predicted)),
    make("span", { class: "often" }, t("often", { count, total: totals.get(taught) })))));
  if (!confused.length) $("confused").append(make("li", {}, t("noConfusion")));
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
  const head = make("tr", {}, make("th", { class: "corner", scope: "col" }, t("matrixCorner")),
    ...labels.map((label) => make("th", { scope: "col", title: label }, make("span", {}, label))));
  const body = confusion.map((row, taught) => {
    const total = row.reduce((sum, value) => sum + value, 0);
    return make("tr", {}, make("th", { scope: "row", title: labels[taught] }, make("span", {}, labels[taught])),
      ...row.map((value, predicted) => newCell(value, total, taught === predicted)));
  });
  table.replaceChildren(make("caption", { class: "sr" }, t("matrixCaption")),
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
