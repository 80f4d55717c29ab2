/** The page Learn. */

import "./shell.js";

import { get, post } from "./api.js";
import { lossCurve } from "./chart.js";
import { by, h, put, putLinked } from "./dom.js";
import { keyed } from "./keyed.js";
import { fail, speak, toldBy } from "./notices.js";
import { GOING, missed, now, refresh, watch } from "./state.js";
import { duration, percent, sentence } from "./words.js";

let spoken = "";
let asking = 0; // what has been asked of the station and not answered yet

/** What the card says in each state: a heading, a text, the button. */
function texts(learn, ready) {
  const button = learn.resumable ? "Go on" : "Learn";
  const stopped = [
    "Stopped, and kept",
    `The best prompt so far is kept. It goes on from here with the button, or with the station stopped and “edge-sharpzo tune --resume ${learn.stopped}”.`,
    "Go on",
  ];
  switch (learn.state) {
    case "encoding":
      return [
        "Reading photos",
        "Each new photo goes through the model once; what it saw there is kept.",
        "Stop",
      ];
    case "tuning":
      return ["Learning", "You can leave this page, or close it: learning goes on.", "Stop"];
    case "done":
      if (!learn.up_to_date)
        return [
          "Changed since it learnt",
          "The tuned classifier is of the photos and words before. Learn again to have the change in it.",
          "Learn again",
        ];
      return [
        "Learnt",
        "The classifier is made: try it, take it, or add photos and learn again.",
        "Learn again",
      ];
    case "failed":
      return [
        "That did not work",
        learn.why ?? "The station gave no reason; its log says more.",
        button,
      ];
    case "elsewhere":
      return [
        "Learning elsewhere",
        learn.why ??
          "Another program is learning with this run folder. This page goes on when it is done.",
        "Learn",
      ];
    case "stopped":
      return stopped;
    default:
      if (learn.resumable) return stopped;
      if (learn.why_not_resumable)
        return [
          "Stopped, and does not go on",
          `${sentence(learn.why_not_resumable)} So learning begins anew; the run that was stopped stays in a folder beside.`,
          "Learn from the beginning",
        ];
      return ready
        ? [
            "Ready to learn",
            "Everything is there. It takes a few minutes on a small device.",
            "Learn",
          ]
        : [
            "Photos first",
            "Learning needs two classes with photos. Add them on the page Photos.",
            "Learn",
          ];
  }
}

function progress(learn) {
  const bar = by("learn-bar");
  put(by("learn-progress"), { hidden: !GOING.has(learn.state) });
  if (!GOING.has(learn.state)) return;
  const share = learn.of ? learn.queries / learn.of : null;
  put(bar, { value: share === null ? false : 100 * share });
  const left = Number.isFinite(learn.seconds_left) ? `${duration(learn.seconds_left)} left` : null;
  const unit = learn.state === "encoding" ? "photos" : "queries";
  const done = learn.of
    ? `${learn.queries.toLocaleString("en")} of ${learn.of.toLocaleString("en")} ${unit}`
    : null;
  put(by("learn-figures"), { text: [learn.stage, done, left].filter(Boolean).join(" · ") });
  const tenth = share === null ? "" : percent(Math.floor(share * 10) / 10);
  if (`${learn.state} ${tenth}` !== spoken) {
    spoken = `${learn.state} ${tenth}`;
    speak([by("learn-title").textContent, tenth, left].filter(Boolean).join(", "));
  }
}

function show(state) {
  const { learn } = state;
  const ready = state.classes.filter(({ photos }) => photos > 0).length >= 2;
  const going = GOING.has(learn.state);
  const [title, text, button] = texts(learn, ready);
  put(by("learn-title"), { text: title });
  putLinked(by("learn-text"), sentence(text));
  // What the last run told is of photos as they were then.
  const isOld = learn.state === "done" && !learn.up_to_date;
  const told = isOld ? [] : (learn.told ?? []);
  keyed(by("learn-told"), told, (each) => h("li", {}, sentence(each)));
  const go = /** @type {HTMLButtonElement} */ (by("learn-go"));
  put(go, { text: button, disabled: learn.state === "elsewhere" || !(ready || going) });
  go.classList.toggle("main", !going);
  put(by("learn-again"), { hidden: going || !learn.resumable });
  if (!asking) by("learn-auto").checked = Boolean(learn.auto);
  const quick = {
    none: "It waits for photos.",
    working: "It is being made just now.",
    ready: "It is up to date.",
  };
  put(by("quick"), { text: quick[state.look?.state] ?? "" });
  progress(learn);
}

/** The curve of the looks that /api/learn gives. */
function showCurve(history) {
  const points = history.filter(({ loss }) => Number.isFinite(loss));
  put(by("curve"), { hidden: points.length < 2 });
  draw(points);
}

let curve = [];

/** The curve as wide as its place; without points: of those of before, in a place of another width. */
function draw(points = curve) {
  curve = points;
  const width = by("chart").clientWidth;
  if (points.length >= 2 && width) by("chart").replaceChildren(lossCurve(points, width));
}
new ResizeObserver(() => draw()).observe(by("chart"));

async function ask(path, body) {
  asking += 1;
  try {
    toldBy(await post(path, body));
  } catch (error) {
    fail(error);
  }
  asking -= 1;
  await refresh();
}

by("learn-go").addEventListener("click", () => {
  if (GOING.has(now().learn.state)) return ask("/api/learn/stop", {});
  return ask("/api/learn", { again: now().learn.state === "done" });
});
by("learn-again").addEventListener("click", () => ask("/api/learn", { again: true }));
by("learn-auto").addEventListener("change", (event) =>
  ask("/api/learn/auto", { on: event.target.checked }),
);

// The state tells how far learning is, not the whole curve: that is asked for when it went on.
let drawn = "";
let asked = 0;
let answered = 0; // the newest question whose answer is shown: an older one's may come later
watch(async (state) => {
  show(state);
  const mark = `${state.learn.state} ${state.learn.queries}`;
  if (mark === drawn) return;
  drawn = mark;
  const mine = ++asked;
  try {
    const { history } = await get("/api/learn");
    if (mine < answered) return;
    answered = mine;
    showCurve(history);
  } catch (error) {
    if (mark !== drawn) return;
    drawn = "";
    missed(error);
  }
});
