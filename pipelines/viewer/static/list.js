// The left column: which slides there are, and which one is shown.

import { byId, element, score, slideUrl, verdictBadge, words } from "./dom.js";

const ORDER = { failed: 0, partial: 1, unfinished: 2, ok: 3 };
const collate = new Intl.Collator(undefined, { numeric: true }).compare;

export class SlideList {
  constructor(choose) {
    this.choose = choose;
    this.slides = [];
    this.shown = [];
    this.verdict = "all";
    this.current = null;
    this.rows = new Map();
    byId("search").addEventListener("input", () => this.render());
    byId("sort").addEventListener("change", () => this.render());
    byId("slides").addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) {
        event.preventDefault();
        this.step(step);
      }
    });
  }

  // `positive` is the class that scores are for; null where no slide says it.
  set(slides, positive) {
    this.slides = slides;
    this.positive = positive;
    byId("sort").options[1].textContent = `${positive ?? ""} score, highest first`.trim();
    this.renderFilters();
    this.render();
  }

  renderFilters() {
    const counts = new Map([["all", this.slides.length]]);
    const hasVerdicts = !this.slides.some((slide) => slide.verdict === "unfinished");
    for (const verdict of hasVerdicts ? ["ok", "partial", "failed"] : []) counts.set(verdict, 0);
    for (const { verdict } of this.slides) counts.set(verdict, (counts.get(verdict) ?? 0) + 1);
    const uncertain = this.slides.filter((slide) => slide.uncertain).length;
    if (uncertain) counts.set("uncertain", uncertain);
    byId("filters").replaceChildren(
      ...[...counts].map(([verdict, count]) =>
        element(
          "button",
          {
            className: `chip ${verdict}`,
            "aria-pressed": String(verdict === this.verdict),
            disabled: count === 0 && verdict !== "all",
            onclick: () => {
              this.verdict = verdict;
              this.renderFilters();
              this.render();
            },
          },
          element("b", {}, String(count)),
          verdict,
        ),
      ),
    );
  }

  render() {
    const asked = byId("search").value.trim().toLocaleLowerCase();
    const matches = (slide) =>
      (this.verdict === "all" || this.kinds(slide).includes(this.verdict)) &&
      (!asked ||
        [
          slide.slide_id,
          slide.patient_id,
          slide.prediction,
          slide.label,
          slide.reason,
          slide.uncertain && "uncertain",
          ...slide.flags,
        ].some((text) => text && words(text.toLocaleLowerCase()).includes(words(asked))));
    const compare = {
      id: (a, b) => collate(a.slide_id, b.slide_id),
      score: (a, b) => (b.score ?? -1) - (a.score ?? -1) || collate(a.slide_id, b.slide_id),
      verdict: (a, b) =>
        (ORDER[a.verdict] ?? 9) - (ORDER[b.verdict] ?? 9) || collate(a.slide_id, b.slide_id),
    }[byId("sort").value];
    this.shown = this.slides.filter(matches).sort(compare);
    this.rows = new Map(this.shown.map((slide, i) => [slide.slide_id, this.row(slide, i)]));
    byId("slides").replaceChildren(...this.rows.values());
    if (!this.shown.length) {
      const why = this.slides.length ? "No slide matches." : "This run has no slides yet.";
      byId("slides").append(element("li", { className: "empty", role: "presentation" }, why));
    }
    this.mark();
  }

  row(slide, i) {
    const image = slide.has_image
      ? element("img", {
          src: `${slideUrl(slide.slide_id)}/thumbnail.jpg`,
          alt: "",
          loading: "lazy",
        })
      : element("span", { className: "no-image" }, "no image");
    const says = slide.prediction
      ? element(
          "span",
          { className: "says" },
          slide.prediction,
          element(
            "b",
            { title: `score for ${this.positive ?? "the positive class"}` },
            score(slide.score),
          ),
        )
      : element(
          "span",
          { className: "says muted" },
          slide.reason ? words(slide.reason) : "no prediction",
        );
    return element(
      "li",
      {
        id: `slide-${i}`,
        className: "row",
        role: "option",
        title: slide.slide_id,
        onclick: () => this.choose(slide.slide_id),
      },
      element("span", { className: "thumb" }, image),
      element(
        "span",
        { className: "row-text" },
        element("span", { className: "row-id" }, slide.slide_id),
        says,
        element("span", { className: "badges" }, ...this.kinds(slide).map(verdictBadge)),
      ),
    );
  }

  kinds({ verdict, uncertain }) {
    return uncertain ? [verdict, "uncertain"] : [verdict];
  }

  step(by) {
    if (!this.shown.length) return;
    const at = this.shown.findIndex((slide) => slide.slide_id === this.current);
    const next = Math.min(this.shown.length - 1, Math.max(0, at + by));
    this.choose(this.shown[next].slide_id);
  }

  select(slideId) {
    this.current = slideId;
    this.mark();
    this.rows.get(slideId)?.scrollIntoView({ block: "nearest" });
  }

  mark() {
    byId("slides").removeAttribute("aria-activedescendant");
    for (const [slideId, row] of this.rows) {
      const isCurrent = slideId === this.current;
      row.setAttribute("aria-selected", String(isCurrent));
      if (isCurrent) byId("slides").setAttribute("aria-activedescendant", row.id);
    }
  }
}
