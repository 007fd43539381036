// How good it is, told honestly: each sample judged by all the others.

import { $, make, percent, plural, say, sentence } from "./dom.js";

const FEW = 6; // labels whose table is read at a glance
const WORST = 8; // confusions listed where there are more labels

export function showReport(status) {
  const report = status.report;
  $("report").hidden = !report;
  if (!report) return;
  const tellable = report.accuracy !== null && report.labels.length > 1;
  say($("accuracy"), tellable ? percent(report.accuracy) : "–");
  say($("accuracy-note"), tellable
    ? `right when each of ${plural(report.samples, "sample")} is judged by the others; likely between ${Math.round(100 * report.interval[0])} and ${percent(report.interval[1])}.`
    : "Teach a second label, and this tells how well the two are told apart.");
  $("warnings").hidden = !tellable;
  $("warnings").replaceChildren(...report.warnings.map((text) => make("li", {}, `${sentence(text)}.`)));
  const suspects = report.suspects.length;
  $("suspects").hidden = !suspects;
  say($("suspects"), suspects ? `${plural(suspects, "sample looks", "samples look")} mislabelled and ${suspects === 1 ? "is" : "are"} marked below.` : "");
  showConfusion(report, tellable);
}

function showConfusion({ labels, confusion, confused }, tellable) {
  const table = $("confusion");
  const many = labels.length > FEW;
  $("confusions").hidden = !tellable;
  $("confused").hidden = !tellable || !many;
  if (!tellable) return;
  if (!many) $("confusions").open = true; // its summary is not shown, so it cannot be closed
  $("confusions").classList.toggle("few", !many);
  say($("confusions-title"), `All ${labels.length} labels against each other`);
  const totals = new Map(labels.map((label, taught) => [label, confusion[taught].reduce((sum, value) => sum + value, 0)]));
  $("confused").replaceChildren(...confused.slice(0, WORST).map(([taught, said, count]) => make("li", {},
    make("span", {}, make("b", {}, taught), " taken for ", make("b", {}, said)),
    make("span", { class: "often" }, `${count} of ${totals.get(taught)}`))));
  if (!confused.length) $("confused").append(make("li", {}, "No label was taken for another."));
  const head = make("tr", {}, make("th", { class: "corner", scope: "col" }, "taught ↓ said →"),
    ...labels.map((label) => make("th", { scope: "col", title: label }, make("span", {}, label))));
  const body = confusion.map((row, taught) => {
    const total = row.reduce((sum, value) => sum + value, 0);
    return make("tr", {}, make("th", { scope: "row", title: labels[taught] }, make("span", {}, labels[taught])),
      ...row.map((value, said) => newCell(value, total, taught === said)));
  });
  table.replaceChildren(make("caption", { class: "sr" }, "Confusion: taught labels against what it said"),
    make("thead", {}, head), make("tbody", {}, ...body));
}

function newCell(value, total, right) {
  const cell = make("td", { class: right ? "right" : "wrong" }, value ? String(value) : "");
  const share = total ? value / total : 0;
  cell.style.setProperty("--share", value ? String(0.12 + 0.88 * share) : "0");
  cell.classList.toggle("strong", share > 0.5);
  return cell;
}
