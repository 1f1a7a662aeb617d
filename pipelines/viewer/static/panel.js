// The right column: what the run says of a slide, what the colours mean, how it was read.

import { byId, element, prose, score, verdictBadge, whole, words } from "./dom.js";
import { segmentationSection } from "./classes.js";
import { facts } from "./facts.js";
import { legend } from "./legend.js";
import { showLine } from "./show.js";
import { troubleLine } from "./trouble.js";

const REDO =
  "Correct what is said here, if it is of the slide or the settings, and run the same command: " +
  "finished slides are not done twice.";
const EARLIER = "What is shown was made before it failed, perhaps by an earlier run.";
const RELATIVE =
  "This map compares tiles within the slide. " +
  "The slide was called negative, and it lights up all the same.";
const HELD_BACK = `${RELATIVE} So it is not shown unless you tick “Show”.`;

export class Panel {
  constructor(actions) {
    Object.assign(this, actions); // onChannel, onOverlay and so on
    this.opacity = 0.5;
    this.isShown = true;
    this.isOutlineShown = false;
    this.areNucleiShown = false;
    this.segmentation = { opacity: 0.5, isShown: false };
    this.isSegmentationChosen = false; // until a person says, it is shown where no heatmap is
    this.isHeldBack = false; // the overlay, because of the slide and not because a person hid it
    this.chosenTitle = undefined; // of the channel that a person chose last
    this.chosenClasses = new Map(); // by name, whether a person wants to see it
  }

  // What a person chose stays from slide to slide; of the slide that is shown already, so does how
  // far the panel is scrolled.
  show(slide) {
    const top = slide.slide_id === this.slide?.slide_id ? byId("panel").scrollTop : 0;
    this.slide = slide;
    this.channel = null;
    if (!this.isSegmentationChosen) this.segmentation.isShown = !slide.heatmap;
    if (this.isHeldBack) this.isShown = true;
    this.isHeldBack = false;
    byId("panel").replaceChildren(
      ...[
        this.verdict(),
        this.prediction(),
        this.heatmap(),
        segmentationSection(this),
        facts(slide),
      ].filter(Boolean),
    );
    if (slide.heatmap && slide.image) this.showFirst();
    for (const { label, name } of slide.segmentation?.classes ?? []) {
      if (this.chosenClasses.has(name)) this.onClass(label, this.chosenClasses.get(name));
    }
    byId("panel").scrollTop = top;
  }

  // The channel chosen last, or else the first, that says something of a negative slide too; if
  // there is none, no overlay.
  showFirst() {
    const { channels } = this.slide.heatmap;
    const telling = channels.filter((channel) => !this.misleads(channel));
    const wanted = telling.find((channel) => channel.title === this.chosenTitle) ?? telling[0];
    const first = channels.indexOf(wanted);
    this.isHeldBack = first < 0 && this.isShown;
    const index = Math.max(0, first);
    if (byId("channel")) byId("channel").value = index;
    this.setOverlay({ isShown: this.isShown && !this.isHeldBack });
    this.setChannel(index);
  }

  misleads(channel) {
    const { prediction, prediction_file: file } = this.slide;
    return Boolean(channel.is_relative && file.positive && prediction && prediction !== file.positive);
  }

  verdict() {
    const { slide } = this;
    const head = element("div", { className: "title" }, element("h2", {}, slide.slide_id));
    const trouble = slide.image ? troubleLine("image") : null;
    const section = element("section", {}, head, verdictBadge(slide.verdict), trouble);
    if (slide.verdict === "ok") return section;
    const note = element("div", { className: `note ${slide.verdict}`, id: "reason" });
    if (slide.reason) note.append(element("p", { className: "reason" }, words(slide.reason)));
    if (slide.message) note.append(prose(slide.message));
    if (slide.verdict === "failed") {
      if (slide.image) note.append(element("p", {}, EARLIER));
      note.append(element("p", { className: "muted" }, REDO));
    }
    section.append(note);
    return section;
  }

  prediction() {
    const { slide } = this;
    if (!slide.prediction) return null;
    const file = slide.prediction_file;
    const threshold = file.threshold ?? null;
    const meter = element("div", { className: "meter", "aria-hidden": "true" });
    meter.append(element("i", { style: { width: `${100 * (slide.score ?? 0)}%` } }));
    if (threshold !== null) meter.append(element("b", { style: { left: `${100 * threshold}%` } }));
    const caption = [
      "Softmax output of the slide's head",
      threshold === null ? "" : `; the mark is the operating point, ${score(threshold)}`,
      file.calibrated ? "." : ". Not calibrated: not a probability of disease.",
    ].join("");
    return element(
      "section",
      {},
      element("h3", {}, "Prediction"),
      element("p", { className: "says-large" }, slide.prediction),
      file.uncertain
        ? element("p", { className: "note partial", id: "uncertain" }, "Uncertain: read again.")
        : null,
      ...(slide.score === null
        ? []
        : [
            element(
              "p",
              { className: "says" },
              `Score for ${file.positive ?? "the positive class"}`,
              element("b", {}, score(slide.score)),
            ),
            meter,
            element("p", { className: "muted small" }, caption),
          ]),
    );
  }

  heatmap() {
    const { slide } = this;
    if (!slide.image) return null;
    const section = element("section", {}, element("h3", {}, "Heatmap"));
    if (!slide.heatmap) {
      section.append(element("p", { className: "muted" }, "This slide has no heatmap."));
    } else {
      const select = element("select", { id: "channel", "aria-label": "What the heatmap shows" });
      select.append(
        ...slide.heatmap.channels.map((channel, i) =>
          element("option", { value: i }, channel.title),
        ),
      );
      select.onchange = () => {
        this.setChannel(Number(select.value));
        this.chosenTitle = this.channel.title;
      };
      section.append(
        slide.heatmap.channels.length > 1 ? select : "",
        showLine({
          id: "shown",
          opacityId: "opacity",
          what: "Opacity of the heatmap",
          isShown: this.isShown,
          opacity: this.opacity,
          change: (changed) => this.setOverlay(changed),
        }),
        element("div", { id: "legend", className: "legend" }),
        troubleLine("heatmap"),
      );
    }
    const checked = this.isOutlineShown;
    const outline = element("input", { type: "checkbox", id: "outline", checked });
    outline.onchange = () => this.setOutline(outline.checked);
    section.append(
      element(
        "label",
        { className: "line" },
        outline,
        element("span", {}, "Outline of the tissue found"),
      ),
      troubleLine("outline"),
    );
    if (slide.nuclei) section.append(this.nuclei(), troubleLine("nuclei"));
    return section;
  }

  nuclei() {
    const toggle = element("input", {
      type: "checkbox",
      id: "nuclei",
      checked: this.areNucleiShown,
    });
    toggle.onchange = () => this.setNuclei(toggle.checked);
    const title = "Outlines of the nuclei found, close up";
    return element("label", { className: "line" }, toggle, element("span", {}, title));
  }

  setSegmentation(change) {
    Object.assign(this.segmentation, change);
    this.isSegmentationChosen ||= "isShown" in change;
    const { opacity, isShown } = this.segmentation;
    byId("panel").style.setProperty("--segmentation-opacity", opacity);
    if (byId("segmentation")) {
      byId("segmentation").checked = isShown;
      byId("segmentation-opacity-text").textContent = `${Math.round(100 * opacity)} %`;
    }
    this.onSegmentation(this.segmentation);
  }

  setNuclei(areShown) {
    this.areNucleiShown = areShown;
    if (byId("nuclei")) byId("nuclei").checked = areShown;
    this.onNuclei(areShown);
  }

  setChannel(index) {
    const { slide } = this;
    this.channel = slide.heatmap.channels[index];
    const relative = this.isHeldBack ? HELD_BACK : RELATIVE;
    const warning = this.misleads(this.channel) ? relative : null;
    const isUnreadable = slide.image.unreadable.cells.length > 0; // in places
    byId("legend").replaceChildren(...legend(this.channel, { warning, isUnreadable }));
    this.onChannel(index);
  }

  setOverlay({ opacity = this.opacity, isShown = this.isShown }) {
    Object.assign(this, { opacity, isShown });
    byId("panel").style.setProperty("--heatmap-opacity", opacity);
    if (isShown) this.isHeldBack = false;
    if (byId("shown")) {
      byId("shown").checked = isShown;
      byId("opacity").value = Math.round(100 * opacity);
      byId("opacity-text").textContent = `${byId("opacity").value} %`;
    }
    this.onOverlay({ opacity, isShown });
  }

  setOutline(isShown) {
    this.isOutlineShown = isShown;
    if (byId("outline")) byId("outline").checked = isShown;
    this.onOutline(isShown);
  }

  // Mark a value on the colour bar and say it in words; null where there is nothing to say. `label`
  // is that of its cell: the model may have looked where another channel has no value.
  describeValue(value, label) {
    const { channel } = this;
    const tick = byId("tick");
    if (tick) tick.hidden = value === null || Number.isNaN(value);
    if (value === null || !channel) return "";
    const hasReason = label && label !== "looked at";
    if (Number.isNaN(value)) return hasReason ? `not looked at: ${label}` : "not looked at";
    const shown = channel.scale === "logistic" ? 1 / (1 + Math.exp(-value)) : value;
    const fraction = (shown - channel.low) / (channel.high - channel.low);
    tick.style.left = `${100 * Math.min(1, Math.max(0, fraction))}%`;
    const text = channel.high - channel.low > 10 ? whole(shown) : shown.toFixed(2);
    return `${channel.title}: ${text} ${channel.unit}`.trim();
  }
}
