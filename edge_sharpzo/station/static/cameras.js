/** Cameras: the one of this browser's machine, and the one of the device that the station runs on. */

import { get } from "./api.js";
import { h } from "./dom.js";
import { sentence } from "./words.js";

/**
 * @typedef {object} Camera
 * @property {HTMLElement} element what it sees
 * @property {() => Promise<File>} grab a photo of now
 * @property {() => void} stop
 */

/** Whether this browser lets a page of this address see a camera. */
export const browserHasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** Whether this is held in a hand: there the camera app itself takes photos. */
export const isPhone = () => matchMedia("(pointer: coarse)").matches;

const REASONS = {
  NotAllowedError:
    "The browser may not use the camera. Allow it in the browser's settings for this page, then try again.",
  NotFoundError:
    "This machine has no camera that the browser can see. Plug one in, or choose photos instead.",
  NotReadableError: "The camera is used by another program. Close that, then try again.",
  OverconstrainedError: "This camera has no mode that the page can use. Choose photos instead.",
};

/** @returns {Promise<Camera>} */
export async function browserCamera() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      audio: false,
      video: { facingMode: "environment", width: { ideal: 1280 } },
    });
  } catch (error) {
    throw Object.assign(
      new Error(REASONS[error.name] ?? `The camera does not start: ${error.message}`),
      { status: 0 },
    );
  }
  const video = h("video", {
    autoplay: true,
    playsinline: true,
    "aria-label": "What the camera sees",
  });
  video.muted = true;
  video.srcObject = stream;
  const stop = () => stream.getTracks().forEach((track) => track.stop());
  try {
    await video.play();
  } catch (error) {
    stop();
    throw error;
  }
  const canvas = document.createElement("canvas");
  return {
    element: video,
    grab: async () => {
      canvas.width = video.videoWidth;
      canvas.height = video.videoHeight;
      canvas.getContext("2d").drawImage(video, 0, 0);
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
      return new File([blob], "camera.jpg", { type: "image/jpeg" });
    },
    stop,
  };
}

async function frame() {
  const answer = await fetch("/api/camera/frame", { cache: "no-store" });
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(said.error?.cause ?? "The device's camera gives no picture."), {
      status: answer.status,
    });
  }
  return answer.blob();
}

/** @returns {Promise<Camera>} */
export async function deviceCamera() {
  const image = h("img", { alt: "What the device's camera sees" });
  let running = true;
  const show = (blob) => {
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(blob);
  };
  show(await frame());
  (async () => {
    while (running) {
      await new Promise((resolve) => setTimeout(resolve, 300));
      await frame().then(show, () => {});
    }
    URL.revokeObjectURL(image.src);
  })();
  return {
    element: image,
    grab: async () => new File([await frame()], "camera.jpg", { type: "image/jpeg" }),
    stop: () => (running = false),
  };
}

/** The cameras that can be had here: their names, and what opens them. */
export async function cameras() {
  const found = [];
  if (browserHasCamera()) found.push({ name: "Camera of this machine", open: browserCamera });
  const device = await get("/api/camera").catch(() => ({ available: false, why: null }));
  if (device.available) found.push({ name: "Camera of the device", open: deviceCamera });
  return { found, why: device.why };
}

/** Why there is no live camera, and what to do. */
export function noCamera(why) {
  const browser = browserHasCamera()
    ? ""
    : " Browsers show one only to pages of http://127.0.0.1 or https.";
  const instead = isPhone() ? "take photos one by one" : "choose photos";
  const device = why ? ` The device's own: ${sentence(why)}` : "";
  return `No live camera here: ${instead} instead.${browser}${device}`;
}
