// The camera of this browser. The device predicts and learns its frames as photos, one request at a time.

import { $, Refused, postPhoto, randomName, sayRich, sentence } from "./dom.js";
import { t } from "./lang.js";

const EVERY = 200; // milliseconds between the frames that are sent
const REST = 1500; // milliseconds after a refusal
const PATIENCE = 5000; // milliseconds to wait for a frame
const LONGEST = 640; // pixels of the longer side of a frame that is sent; the model needs fewer
const QUALITY = 0.85; // of its JPEG
const SMOOTH = 0.1; // weight of the newest frame in the rate that is shown
// samples of one source less than two seconds apart are one burst, so each page is a source of its own
const SOURCE = `phone-${randomName(3)}`;

let stream = null;
let run = 0; // number of the current use; a frame of an earlier one is not shown
let facing = "environment"; // the camera that looks away from the person
let chosen = ""; // id of the camera, where cameras have no direction
let report = () => {};
let switched = () => {};
let isTaught = () => false;
const canvas = document.createElement("canvas");

export const isOn = () => stream !== null;

// onFrame(prediction, figures) is called for each frame, with figures of null after a refusal; onSwitch() when the camera is
// started or stopped. Until something is taught, no frame is sent.
export function setUp(onFrame, onSwitch, taught) {
  report = onFrame;
  switched = onSwitch;
  isTaught = taught;
  $("from-phone").addEventListener("click", () => isOn() || start());
  $("from-device").addEventListener("click", () => isOn() && stop());
  $("turn").addEventListener("click", turn);
  document.addEventListener("visibilitychange", rest);
  window.addEventListener("pagehide", () => stream && stop());
}

// With no camera on the device, the camera of this browser is the only one.
export function showDevice(condition) {
  $("from-device").disabled = condition === "off";
  $("from-device").setAttribute("aria-pressed", String(!isOn() && condition !== "off"));
  $("from-phone").setAttribute("aria-pressed", String(isOn()));
}

async function start() {
  const own = ++run;
  showProblem("");
  let problem = "";
  const opened = await open().catch((error) => { problem = reasonOf(error); return null; });
  if (own !== run) return release(opened); // stopped while the browser asked
  release(stream);
  if (!opened) {
    if (isOn()) stop();
    return showProblem(problem);
  }
  stream = opened;
  for (const track of stream.getVideoTracks()) track.addEventListener("ended", () => stream === opened && lost());
  await play();
  switched();
  showTurn();
  return predictAll(own);
}

async function open() {
  if (!navigator.mediaDevices?.getUserMedia) throw new Refused("", 0);
  const wanted = chosen ? { deviceId: { exact: chosen } } : { facingMode: { ideal: facing } };
  return navigator.mediaDevices.getUserMedia({ audio: false, video: { ...wanted, width: { ideal: 1280 }, height: { ideal: 960 } } });
}

function stop() {
  run += 1;
  release(stream);
  stream = null;
  $("video").srcObject = null;
  $("video").hidden = true;
  $("turn").hidden = true;
  showProblem("");
  switched();
}

const release = (opened) => opened?.getTracks().forEach((track) => track.stop());

function lost() {
  stop();
  showProblem(t("cameraEnded"));
}

async function play() {
  const video = $("video");
  video.hidden = false;
  video.srcObject = stream;
  // a picture of oneself is expected as in a mirror; what is sent is not mirrored
  video.classList.toggle("mirrored", directionOf() === "user");
  await video.play().catch(() => {}); // interrupted by another start
}

const directionOf = () => stream?.getVideoTracks()[0]?.getSettings().facingMode;

// The other camera: the other direction on a phone, the next one in the list elsewhere.
async function turn() {
  const now = directionOf();
  if (now) {
    facing = now === "user" ? "environment" : "user";
    chosen = "";
  } else {
    const ids = (await cameras()).map((device) => device.deviceId);
    const current = stream?.getVideoTracks()[0]?.getSettings().deviceId;
    chosen = ids[(ids.indexOf(current) + 1) % ids.length];
  }
  release(stream); // many phones open one camera at a time
  await start();
}

const cameras = async () =>
  (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");

async function showTurn() {
  $("turn").hidden = (await cameras().catch(() => [])).length < 2 || !isOn();
}

// A hidden page films nothing; the browser keeps its permission.
function rest() {
  for (const track of stream?.getVideoTracks() ?? []) track.enabled = !document.hidden;
}

function reasonOf(error) {
  if (!window.isSecureContext) return t("needsHttps");
  const reasons = {
    NotAllowedError: t("cameraDenied"),
    NotFoundError: t("cameraMissing"),
    OverconstrainedError: t("cameraMissing"),
    NotReadableError: t("cameraBusy"),
    AbortError: t("cameraBusy"),
  };
  return reasons[error.name] ?? t("cameraUnknown");
}

function showProblem(text) {
  sayRich($("phone-problem"), text);
  $("phone-problem").hidden = !text;
}

// Predicts one frame after another until the camera is stopped; a refusal is shown, and the next frame comes later.
async function predictAll(own) {
  let gap = 0;
  let last = performance.now();
  while (own === run) {
    if (document.hidden) { await pause(EVERY); continue; } // it films nothing
    const due = performance.now() + EVERY;
    const result = await predictOne().catch((error) => ({ error }));
    if (own !== run) return;
    const now = performance.now();
    gap = gap ? (1 - SMOOTH) * gap + SMOOTH * (now - last) : now - last;
    last = now;
    showProblem(result.error ? sentence(result.error.message) : "");
    report(result.prediction ?? null, result.error ? null : { fps: 1000 / gap, milliseconds: result.milliseconds });
    await pause(result.error ? REST : due - performance.now());
  }
}

async function predictOne() {
  const photo = await newPhoto();
  const start = performance.now();
  const prediction = isTaught() ? await postPhoto("/api/v1/predict?all_scores=true", photo) : null;
  return { prediction, milliseconds: Math.round(performance.now() - start) };
}

// Teaches one frame that was not taught before. `meaning` is {label}, {not: label} or {background: true}.
export async function teach(meaning, hold) {
  const query = new URLSearchParams({ ...meaning, hold, source: SOURCE });
  const { counts, negatives, background } = await postPhoto(`/api/v1/samples?${query}`, await newPhoto());
  return { samples: meaning.background ? background : meaning.not ? negatives[meaning.not] : counts[meaning.label] };
}

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

async function newPhoto() {
  const video = $("video");
  await nextFrame(video);
  if (!video.videoWidth) throw new Refused(t("cameraEmpty"), 0);
  const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
  canvas.width = Math.round(video.videoWidth * scale);
  canvas.height = Math.round(video.videoHeight * scale);
  canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
  const photo = await new Promise((resolve) => { canvas.toBlob(resolve, "image/jpeg", QUALITY); });
  if (!photo) throw new Refused(t("cameraEmpty"), 0);
  return photo;
}

function nextFrame(video) {
  return new Promise((resolve, reject) => {
    const late = () => reject(new Refused(t("cameraEmpty"), 0));
    const timer = setTimeout(late, PATIENCE);
    const arrived = () => { clearTimeout(timer); resolve(); };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(arrived);
    else setTimeout(arrived, EVERY / 2);
  });
}
