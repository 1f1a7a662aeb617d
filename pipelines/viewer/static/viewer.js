// Puts list, stage and panel together; the address (#slide_id) says which slide is shown.

import { byId, element, fetchJson, prose, slideUrl, verdictBadge, words } from "./dom.js";
import { SlideList } from "./list.js";
import { Panel } from "./panel.js";
import { Stage } from "./stage.js";
import { tell } from "./trouble.js";

const POLL_MS = 10_000; // while the run is under way, and until it can be read

const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const list = new SlideList((slideId, { isStep = false } = {}) => {
  if (!isStep) location.hash = addressOf(slideId);
  else goTo(slideId);
});
const panel = new Panel({
  onChannel: (index) => stage.showChannel(index),
  onOverlay: (overlay) => stage.setOverlay(overlay),
  onOutline: (isShown) => stage.showOutline(isShown),
  onNuclei: (areShown) => stage.showNuclei(areShown),
  onSegmentation: (segmentation) => stage.setSegmentation(segmentation),
  onClass: (label, isShown) => stage.showClass(label, isShown),
});
const stage = new Stage((value, label) => panel.describeValue(value, label));
let asked = null;
let known = null; // what the list said of that slide when it was asked for

async function load() {
  let isFinished = false;
  try {
    const run = await fetchJson("api/run");
    isFinished = run.is_finished;
    describe(run);
    tell("run", null);
    if (asked === null) {
      showFirst();
      byId("slides").focus({ preventScroll: true });
    }
    else if (listed(asked) !== known) show(asked, { isNew: false });
  } catch (error) {
    tell("run", error);
  } finally {
    if (!isFinished) setTimeout(load, POLL_MS);
  }
}

function describe(run) {
  byId("run-name").textContent = run.name;
  document.title = `${run.name} · RayPath`;
  const model = run.info.model?.identifier;
  const state = run.is_finished ? "" : "Still running: verdicts come at the end";
  byId("run-about").textContent = [model && `Model ${model}`, state].filter(Boolean).join(". ");
  byId("run-about").title = run.info.model?.training_data ?? "";
  list.set(run.slides, run.positive);
}

// The slide of the address, or else the first that can be seen.
function showFirst() {
  const first = list.shown.find((slide) => slide.has_image) ?? list.shown[0];
  if (fromAddress()) show(fromAddress());
  else if (first) goTo(first.slide_id);
}

const addressOf = (slideId) => `#${encodeURIComponent(slideId)}`;

// Show a slide without a step for the browser's “back”.
function goTo(slideId) {
  history.replaceState(null, "", addressOf(slideId));
  show(slideId);
}

// What the list says of a slide, to tell whether that has changed.
function listed(slideId) {
  return JSON.stringify(list.slides.find((slide) => slide.slide_id === slideId));
}

// Show a slide, or one that is shown already (not `isNew`) as it is now.
async function show(slideId, { isNew = true } = {}) {
  asked = slideId;
  known = listed(slideId);
  if (isNew) list.select(slideId);
  let slide;
  try {
    slide = await fetchJson(slideUrl(slideId));
  } catch (error) {
    if (asked !== slideId) return;
    known = null; // asked for again when the list is
    if (isNew) {
      stage.open({ image: null });
      byId("panel").replaceChildren();
      message(element("h2", {}, slideId), element("p", {}, error.message), wayBack(slideId));
    }
    return;
  }
  if (asked !== slideId) return;
  stage.open(slide);
  stage.setOverlay(panel);
  panel.show(slide);
  stage.setSegmentation(panel.segmentation);
  if (panel.isOutlineShown) stage.showOutline(true);
  for (const what of ["heatmap", "segmentation", "nuclei"]) byId(`key-${what}`).hidden = !slide[what];
  byId("message").hidden = Boolean(slide.image);
  if (!slide.image) {
    message(
      verdictBadge(slide.verdict),
      element("h2", {}, "There is no image of this slide"),
      slide.reason ? element("p", { className: "reason" }, words(slide.reason)) : null,
      slide.message ? prose(slide.message) : null,
    );
  }
}

function message(...content) {
  byId("message").replaceChildren(...content.filter(Boolean));
  byId("message").hidden = false;
}

// From a slide that the run does not have; null from one that it has.
function wayBack(slideId) {
  const first = list.slides[0];
  if (!first || list.slides.some((slide) => slide.slide_id === slideId)) return null;
  return element("a", { href: addressOf(first.slide_id) }, `Go to ${first.slide_id}`);
}

function fromAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1);
  }
}

window.addEventListener("hashchange", () => (fromAddress() ? show(fromAddress()) : showFirst()));
window.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input:not([type=range], [type=checkbox]), select");
  if (event.key === "Escape" && event.target === byId("search")) byId("slides").focus();
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const hasOwnArrows = event.target.closest?.("input, #panel");
  const step = hasOwnArrows || event.shiftKey ? undefined : list.stepOf(event.key);
  const actions = {
    h: () => panel.setOverlay({ isShown: !panel.isShown }),
    s: () => panel.setSegmentation({ isShown: !panel.segmentation.isShown }),
    n: () => panel.setNuclei(!panel.areNucleiShown),
    t: () => panel.setOutline(!panel.isOutlineShown),
    "/": () => byId("search").focus(),
    0: () => stage.home(),
    1: () => stage.fullResolution(),
    "+": () => stage.zoom(1.6),
    "=": () => stage.zoom(1.6),
    "-": () => stage.zoom(1 / 1.6),
  };
  const way = hasOwnArrows ? undefined : WAYS[event.key];
  let action = actions[event.key];
  if (way) action = () => stage.pan(...way);
  if (step) action = () => list.step(step); // the plain keys up and down
  if (action) {
    event.preventDefault();
    action();
  }
});

load();
