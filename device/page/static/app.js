// Starts the page: signs in, opens the two streams, and updates what is shown.

import { $, at, attempt, get, getBlob, make, post, say, translate } from "./dom.js";
import * as gallery from "./gallery.js";
import * as lang from "./lang.js";
import { decimal, message, percent, t } from "./lang.js";
import * as phone from "./phone.js";
import { showReport } from "./report.js";
import * as teach from "./teach.js";

const CALM = 1200; // milliseconds between refreshes of the labels while other viewers teach
const SETTLE = 1500; // milliseconds without another prediction before it is announced
const REST = 2000; // milliseconds without a change before the report is requested again
const PAUSE = 4000; // milliseconds between a report and the request for a forecast
let events = null;
let version = 0; // version of the labels on the page
let queue = -1; // version of the queue on the page
let refreshing = null;
let taught = false;
let latest = null; // the last event

async function start() {
  await signIn();
  if (!(await refresh())) return;
  $("main").hidden = false;
  connect();
}

async function signIn() {
  const key = decodeURIComponent(location.hash.slice(1));
  if (!key) return;
  history.replaceState(null, "", location.pathname); // keep the key out of the history and of screenshots
  try {
    await post("/api/enter", { key });
  } catch (error) {
    say($("gate-text"), error.message);
  }
}

// One refresh at a time; further requests share it.
function refresh() {
  refreshing ??= load().finally(() => { refreshing = null; });
  return refreshing;
}

async function load() {
  try {
    const state = await get("/api/state");
    $("gate").hidden = true;
    version = state.version;
    taught = state.labels.some((item) => item.samples > 0);
    say($("model"), state.model);
    say($("facts"), `${state.backbone} · ${state.runtime}`);
    $("export").hidden = !taught;
    showRegions(state);
    teach.showLabels(state.labels);
    gallery.showFilter(state.labels, state.negatives, state.background);
    await gallery.loadDoubts();
    if (taught) {
      await gallery.loadSamples();
      reportLater($("report").hidden ? 0 : REST);
    } else {
      $("report").hidden = true;
    }
    return true;
  } catch (error) {
    if (error.status === 401) showGate();
    else banner(error.message);
    return false;
  }
}

function showRegions({ region, regions }) {
  $("regions").hidden = regions.length < 2;
  if ($("regions").children.length) return; // they stay the same, and a link keeps the focus
  $("regions").replaceChildren(...regions.map(({ name, url }) =>
    make("a", { href: url, class: "chip", ...(name === region ? { "aria-current": "page" } : {}) }, name)));
}

// The report leaves out every sample in turn, which takes seconds on a small board, so it waits for a pause.
let reportTimer = 0;
function reportLater(delay) {
  clearTimeout(reportTimer);
  reportTimer = setTimeout(loadReport, delay);
}

async function loadReport() {
  if (teach.isTeaching()) return reportLater(REST);
  const status = await get("/api/report").catch(() => null);
  if (!status) return undefined;
  showReport(status);
  clearTimeout(forecastTimer);
  if (status.behind) reportLater(REST);
  else if (status.report && !status.forecast) forecastTimer = setTimeout(loadForecast, PAUSE, version);
  return gallery.markSuspects(status.report?.suspects ?? []);
}

// The forecast trains many heads, so it waits for a longer pause.
let forecastTimer = 0;
async function loadForecast(asked) {
  if (teach.isTeaching() || asked !== version) return; // the next report asks again
  const status = await get("/api/report?forecast=true").catch(() => null);
  if (status && asked === version) showReport(status);
}

function showGate() {
  disconnect();
  $("main").hidden = true;
  $("gate").hidden = false;
  $("camera").hidden = true;
}

// Hidden tabs close their streams: browsers allow six connections per host, and a tab uses two.
function connect() {
  disconnect();
  events = new EventSource(at("/api/events"));
  events.onopen = () => { banner(""); showPicture(); };
  events.onmessage = (event) => show(JSON.parse(event.data));
  events.onerror = lost;
}

function disconnect() {
  events?.close();
  events = null;
  $("picture").removeAttribute("src");
}

function showPicture() {
  if (phone.isOn()) $("picture").removeAttribute("src");
  else $("picture").src = at(`/api/stream.mjpg?${Date.now()}`);
}

async function lost() {
  setCamera("lost", t("noConnection"));
  showPrediction(null, "lost", false);
  banner(t("deviceSilentAgain"));
  teach.showScores(null);
  if (events?.readyState !== EventSource.CLOSED) return; // the browser tries again
  disconnect();
  setTimeout(async () => { if (!document.hidden && (await refresh())) connect(); }, 2000);
}

function show(situation) {
  latest = situation;
  phone.showDevice(situation.camera.condition);
  if (!phone.isOn()) showCamera(situation);
  if (situation.version !== version && !teach.isTeaching()) later();
  else if (situation.queue !== queue) { queue = situation.queue; gallery.loadDoubts().catch(() => {}); }
}

function showCamera({ camera, prediction, frame }) {
  setCamera(camera.condition, camera.condition === "live" ? speed(camera.fps, camera.milliseconds) + motion(camera.motion) : camera.condition === "closed" ? message(camera.message).text : CONDITIONS[camera.condition]);
  banner(camera.condition === "lost" ? t("cameraLost", { message: message(camera.message).text }) : "");
  say($("no-picture"), NO_PICTURE[camera.condition] ?? t("waiting"));
  $("no-picture").hidden = frame > 0;
  $("picture").classList.toggle("stale", camera.condition === "lost" || camera.condition === "closed");
  const current = camera.condition === "lost" ? null : prediction;
  teach.showScores(current);
  showPrediction(current, camera.condition, frame > 0);
}

// A frame of the phone's camera; figures are null when it was not predicted.
function showPhone(prediction, figures) {
  setCamera(figures ? "live" : "lost", figures ? speed(figures.fps, figures.milliseconds) : CONDITIONS.lost);
  teach.showScores(prediction);
  showPrediction(prediction, figures ? "live" : "lost", true);
}

function switchCamera() {
  if (events) showPicture();
  $("no-picture").hidden = true;
  banner("");
  teach.showScores(null);
  showPrediction(null, "starting", false);
  if (latest) show(latest);
}

// How much of the picture moves, the threshold, and whether frames are embedded.
const motion = (gate) => !gate ? "" :
  ` · ${t(gate.open ? "moving" : "still", { share: percentOf(gate.share), threshold: percentOf(gate.threshold) })}`;
const percentOf = (share) => t("percent", { value: decimal(100 * share) });
const speed = (fps, time) => t("speed", { fps: decimal(fps), time });

const NO_PICTURE = { off: t("noDeviceCamera"), closed: t("cameraClosed") };
const CONDITIONS = { starting: t("conditionStarting"), lost: t("conditionLost"), ended: t("conditionEnded"), off: t("conditionOff") };

function showPrediction(prediction, condition, seeing) {
  const box = $("prediction");
  if (!prediction) {
    const first = seeing && !taught && condition !== "lost";
    box.dataset.state = "empty";
    say($("prediction-label"), condition === "lost" ? t("noPicture") : first ? t("nothingTaught") : "…");
    say($("prediction-note"), first ? t("nothingTaughtHow") : "");
  } else if (prediction.known) {
    box.dataset.state = "known";
    say($("prediction-label"), prediction.label);
    say($("prediction-note"), percent(prediction.probability));
  } else {
    box.dataset.state = "unknown";
    say($("prediction-label"), t("unknown"));
    say($("prediction-note"), t("nearest", { label: prediction.label }));
  }
  speak(prediction ? (prediction.known ? t("inView", { label: prediction.label }) : t("unknownInView")) : "");
}

// For screen readers: announces the prediction once it is stable.
let speaking = 0;
let settled = "";
function speak(text) {
  if (text === settled) return;
  settled = text;
  clearTimeout(speaking);
  speaking = setTimeout(() => { say($("spoken"), text); }, SETTLE);
}

function setCamera(condition, text) {
  $("camera").dataset.condition = condition;
  say($("camera-text"), text);
}

function banner(text) {
  say($("banner"), text);
  $("banner").hidden = !text;
}

let timer = 0;
function later() {
  timer ||= setTimeout(() => { timer = 0; refresh(); }, CALM);
}

async function download(event) {
  event.preventDefault();
  if ($("export").classList.contains("busy")) return;
  $("export").classList.add("busy");
  const blob = await attempt(() => getBlob("/api/export"));
  $("export").classList.remove("busy");
  if (!blob) return;
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: $("model").textContent.replace(/\.tflite$/, "") + "-taught.tflite" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

document.addEventListener("visibilitychange", () => {
  if ($("main").hidden) return;
  if (document.hidden) disconnect();
  else connect();
});
$("export").addEventListener("click", download);
translate();
lang.setUp($("language"));
const refreshSoon = () => { version = 0; return refresh(); };
teach.setUp(refreshSoon);
phone.setUp(showPhone, switchCamera, () => taught);
gallery.setUp(refreshSoon);
start();
