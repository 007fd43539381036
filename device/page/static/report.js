// How good it is, told honestly: each sample judged by all the others.

import { $, make, percent, plural } from "./dom.js";

export function showReport(status) {
  const report = status.report;
  $("report").hidden = !report;
  if (!report) return;
  const count = report.confusion.flat().reduce((sum, value) => sum + value, 0);
  const tellable = report.accuracy !== null && report.labels.length > 1;
  $("accuracy").textContent = tellable ? percent(report.accuracy) : "–";
  $("accuracy-note").textContent = tellable
    ? `right when each of ${plural(count, "sample")} is judged by the others${interval(report)}.`
    : "Teach a second label, and this tells how well the two are told apart.";
  $("warnings").replaceChildren(...report.warnings.map((text) => make("li", {}, text)));
  showConfusion(report, tellable);
}

function interval({ interval: bounds }) {
  return bounds ? `; ${Math.round(100 * bounds[0])}–${percent(bounds[1])} is likely` : "";
}

function showConfusion({ labels, confusion }, tellable) {
  const table = $("confusion");
  table.hidden = !tellable;
  if (!tellable) return;
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
