// Starts the page: signs in, opens the two streams, and updates what is shown.

import { $, at, attempt, get, getBlob, make, percent, post, say } from "./dom.js";
import * as gallery from "./gallery.js";
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
  setCamera("lost", "no connection");
  showPrediction(null, "lost", false);
  banner("The device does not respond. Trying again…");
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
  setCamera(camera.condition, camera.condition === "live" ? `${camera.fps.toFixed(1)} fps · ${camera.milliseconds} ms${motion(camera.motion)}` : camera.condition === "closed" ? camera.message : CONDITIONS[camera.condition]);
  banner(camera.condition === "lost" ? `No picture from the camera: ${camera.message}. Trying again…` : "");
  say($("no-picture"), NO_PICTURE[camera.condition] ?? "Waiting for the first picture…");
  $("no-picture").hidden = frame > 0;
  $("picture").classList.toggle("stale", camera.condition === "lost" || camera.condition === "closed");
  const current = camera.condition === "lost" ? null : prediction;
  teach.showScores(current);
  showPrediction(current, camera.condition, frame > 0);
}

// A frame of the phone's camera; figures are null when it was not predicted.
function showPhone(prediction, figures) {
  setCamera(figures ? "live" : "lost", figures ? `${figures.fps.toFixed(1)} fps · ${figures.milliseconds} ms` : CONDITIONS.lost);
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
  ` · ${gate.open ? "motion" : "still"} ${percentOf(gate.share)} of ${percentOf(gate.threshold)}`;
const percentOf = (share) => `${(100 * share).toFixed(1)} %`;

const NO_PICTURE = { off: "The device has no camera. You can use your own.", closed: "The camera is closed at this time." };
const CONDITIONS = { starting: "camera is starting", lost: "no picture", ended: "recording has ended", off: "no camera" };

function showPrediction(prediction, condition, seeing) {
  const box = $("prediction");
  if (!prediction) {
    const first = seeing && !taught && condition !== "lost";
    box.dataset.state = "empty";
    say($("prediction-label"), condition === "lost" ? "No picture" : first ? "Nothing taught yet" : "…");
    say($("prediction-note"), first ? "Add a label and hold its button while the thing is in view." : "");
  } else if (prediction.known) {
    box.dataset.state = "known";
    say($("prediction-label"), prediction.label);
    say($("prediction-note"), percent(prediction.probability));
  } else {
    box.dataset.state = "unknown";
    say($("prediction-label"), "Unknown");
    say($("prediction-note"), `Nearest label: “${prediction.label}”.`);
  }
  speak(prediction ? (prediction.known ? `In view: ${prediction.label}.` : "In view: unknown.") : "");
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
const refreshSoon = () => { version = 0; return refresh(); };
teach.setUp(refreshSoon);
phone.setUp(showPhone, switchCamera, () => taught);
gallery.setUp(refreshSoon);
start();
