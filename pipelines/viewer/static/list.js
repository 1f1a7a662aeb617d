// The left column: which slides there are, and which one is shown.

import { byId, element, score, slideUrl, verdictBadge, whole, words } from "./dom.js";

const KINDS = ["all", "ok", "partial", "failed", "unfinished", "uncertain"];
const ORDER = { failed: 0, partial: 1, unfinished: 2, ok: 3 };
const SEARCH_MS = 100; // after the last key
const collate = new Intl.Collator(undefined, { numeric: true }).compare;

export class SlideList {
  constructor(choose) {
    this.choose = choose;
    this.slides = [];
    this.shown = [];
    this.filter = "all";
    this.current = null;
    this.rows = new Map(); // by slide_id: the element, and the JSON it was made from
    this.made = 0; // rows, ever
    this.chips = new Map(KINDS.map((kind) => [kind, this.chip(kind)]));
    byId("filters").append(...this.chips.values());
    let waiting;
    byId("search").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.render(), SEARCH_MS);
    });
    byId("sort").addEventListener("change", () => this.sort());
  }

  // `positive` is the class that scores are for; null where no slide says it.
  set(slides, positive) {
    this.slides = slides;
    this.positive = positive;
    byId("sort").options[1].textContent = `${positive ?? ""} score, highest first`.trim();
    this.rows = new Map(slides.map((slide) => [slide.slide_id, this.kept(slide)]));
    this.renderFilters();
    this.sort();
  }

  // The row that a slide has already, unless there is something new to say of it.
  kept(slide) {
    const said = JSON.stringify([slide, this.positive]);
    const known = this.rows.get(slide.slide_id);
    return known?.said === said ? known : { said, text: searched(slide), row: this.row(slide) };
  }

  renderFilters() {
    const counts = new Map([["all", this.slides.length]]);
    for (const kind of this.slides.flatMap(kinds)) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    if (!counts.has(this.filter)) this.filter = "all";
    const always = counts.has("unfinished") ? ["all"] : KINDS.slice(0, 4);
    for (const [kind, chip] of this.chips) {
      chip.firstChild.textContent = whole(counts.get(kind) ?? 0);
      chip.disabled = !counts.has(kind);
      chip.hidden = !counts.has(kind) && !always.includes(kind);
    }
  }

  chip(kind) {
    const onclick = () => {
      this.filter = kind;
      this.render();
    };
    return element("button", { className: `chip ${kind}`, onclick }, element("b"), kind);
  }

  sort() {
    const compare = {
      id: (a, b) => collate(a.slide_id, b.slide_id),
      score: (a, b) => (b.score ?? -1) - (a.score ?? -1) || collate(a.slide_id, b.slide_id),
      verdict: (a, b) =>
        (ORDER[a.verdict] ?? 9) - (ORDER[b.verdict] ?? 9) || collate(a.slide_id, b.slide_id),
    }[byId("sort").value];
    this.slides = [...this.slides].sort(compare);
    const rows = this.slides.map((slide) => this.rows.get(slide.slide_id).row);
    const there = byId("slides").querySelectorAll(".row");
    if (rows.length !== there.length || rows.some((row, i) => row !== there[i])) {
      byId("slides").replaceChildren(...rows, byId("no-slides"));
    }
    this.render();
  }

  render() {
    const asked = words(byId("search").value.trim().toLocaleLowerCase());
    this.shown = this.slides.filter((slide) => {
      const { row, text } = this.rows.get(slide.slide_id);
      const isOfKind = this.filter === "all" || kinds(slide).includes(this.filter);
      row.hidden = !(isOfKind && text.includes(asked));
      return !row.hidden;
    });
    for (const [kind, chip] of this.chips) {
      chip.setAttribute("aria-pressed", String(kind === this.filter));
    }
    const [found, all] = [this.shown.length, this.slides.length];
    const slides = `${whole(all)} ${all === 1 ? "slide" : "slides"}`;
    const text = found === all ? slides : `${whole(found)} of ${slides}`;
    if (byId("found").textContent !== text) byId("found").textContent = text; // said aloud
    byId("no-slides").hidden = found > 0;
    byId("no-slides").textContent = all ? "No slide matches." : "This run has no slides yet.";
    this.mark();
  }

  row(slide) {
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
        id: `slide-${this.made++}`,
        className: "row",
        role: "option",
        "aria-selected": "false",
        title: slide.slide_id,
        onclick: () => this.choose(slide.slide_id),
      },
      element("span", { className: "thumb" }, image),
      element(
        "span",
        { className: "row-text" },
        element("span", { className: "row-id" }, slide.slide_id),
        says,
        element("span", { className: "badges" }, ...kinds(slide).map(verdictBadge)),
      ),
    );
  }


  // Where a key of the list goes from the current slide: by how many slides; undefined if nowhere.
  stepOf(key) {
    const height = this.rows.get(this.shown[0]?.slide_id)?.row.offsetHeight;
    const page = Math.max(1, Math.floor(byId("slides").clientHeight / height) || 1);
    return {
      ArrowDown: 1,
      ArrowUp: -1,
      PageDown: page,
      PageUp: -page,
      Home: -Infinity,
      End: Infinity,
    }[key];
  }

  step(by) {
    if (!this.shown.length) return;
    const at = this.shown.findIndex((slide) => slide.slide_id === this.current);
    const next = Math.min(this.shown.length - 1, Math.max(0, at + by));
    if (next !== at) this.choose(this.shown[next].slide_id, { isStep: true });
  }

  select(slideId) {
    this.current = slideId;
    this.mark();
    const row = this.rows.get(slideId)?.row;
    if (row && !row.hidden) reveal(row);
    scrollTo({ top: 0 }); // in a narrow window the slide stands above the list
  }

  mark() {
    byId("slides").querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
    const row = this.rows.get(this.current)?.row;
    row?.setAttribute("aria-selected", "true");
    if (row && !row.hidden) byId("slides").setAttribute("aria-activedescendant", row.id);
    else byId("slides").removeAttribute("aria-activedescendant");
  }
}

// What a slide is filtered by.
function kinds({ verdict, uncertain }) {
  return uncertain ? [verdict, "uncertain"] : [verdict];
}

function searched(slide) {
  const { slide_id: id, patient_id: patient, prediction, label, reason, flags } = slide;
  const said = [id, patient, prediction, label, reason, ...kinds(slide).slice(1), ...flags];
  return words(said.filter(Boolean).join("\n").toLocaleLowerCase());
}

/** Scroll the list alone to a row; `scrollIntoView` would move the page, too. */
function reveal(row) {
  const list = byId("slides");
  const [shown, wanted] = [list.getBoundingClientRect(), row.getBoundingClientRect()];
  if (wanted.top < shown.top) list.scrollTop -= shown.top - wanted.top;
  else if (wanted.bottom > shown.bottom) list.scrollTop += wanted.bottom - shown.bottom;
}
