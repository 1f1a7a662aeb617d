// All text reaches the page as text nodes, never as markup.
"use strict";
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const slides = read("slides");
const colours = read("colours");
const measures = read("measures");
document.getElementById("slides").remove(); // its text is as large as all pictures
const byId = (id) => document.getElementById(id);
const PER_PAGE = { cards: 20, rows: 100 };
const MANY = 300; // slides, above which a list is easier to go through than cards
const VERDICTS = ["failed", "partial", "unfinished", "ok"];
const CAPTIONS = { slide: ["slide", "The slide with the outline of its tissue"], heatmap: ["under its heatmap", "The slide under its heatmap"], quality: ["left out for quality", "The slide with the tiles left out for their quality"] };
const compareIds = new Intl.Collator(undefined, { numeric: true }).compare;
const spaced = (text) => text.replaceAll("_", " ");
const toThree = (value) => String(Number(value.toPrecision(3)));
const area = (mm2) => (mm2 > 0 && mm2 < 1e-4 ? "< 0.0001" : toThree(mm2));
const number = (value, digits = 0) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const sum = (values) => values.reduce((a, b) => a + b, 0);

for (const slide of slides) {
  const rank = VERDICTS.indexOf(slide.verdict);
  slide.rank = rank < 0 ? VERDICTS.length : rank;
  slide.total = sum(Object.values(slide.seconds ?? {}));
  slide.notes = [slide.reason, ...(slide.flags ?? []), slide.said?.uncertain && "uncertain"].filter(Boolean).map(spaced);
  slide.text = [slide.slide_id, slide.patient_id, slide.label, slide.split, slide.path, slide.prediction, slide.message, ...slide.notes].filter(Boolean).join("\n").toLowerCase();
}
slides.sort((a, b) => a.rank - b.rank || compareIds(a.slide_id, b.slide_id));

const downBy = (value) => (a, b) => (value(b) ?? -1) - (value(a) ?? -1);
const comparisons = {
  id: (a, b) => compareIds(a.slide_id, b.slide_id),
  score: downBy((slide) => slide.score),
  uncertain: downBy((slide) => Number(Boolean(slide.said?.uncertain))),
  tissue: downBy((slide) => slide.tissue_mm2),
  time: downBy((slide) => slide.total),
};

// An element with its attributes and children; strings become text.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

// A text in pieces: no line ends within an option such as --mpp.
function optionsWhole(text) {
  return text.split(/(--[a-z][a-z-]*)/).map((piece, at) => (at % 2 ? make("span", { class: "option" }, piece) : piece));
}

function picture(slide, name) {
  const [caption, alt] = CAPTIONS[name];
  const figure = make("figure");
  const inFolder = `slides/${encodeURIComponent(slide.slide_id)}/preview/${name}.webp`;
  const image = make("img", { alt, src: slide.pictures?.[name] ?? inFolder });
  const text = make("figcaption", {}, caption);
  image.addEventListener("error", () => {
    if (image.src === slide.thumbnail) return;
    image.src = slide.thumbnail; // the page was moved away from its folder
    text.textContent = `${caption}: only with slides/ beside this page`;
  });
  figure.append(image, text);
  return figure;
}

function pictures(slide) {
  const box = make("div", { class: "pictures" }, ...(slide.panels ?? []).map((name) => picture(slide, name)));
  if (slide.withheld) {
    box.append(make("div", { class: "blank" }, `heatmap not drawn: the slide was called negative, and “${slide.withheld}” lights up all the same`));
  }
  if (!slide.panels?.length) box.append(make("div", { class: "blank" }, slide.trouble ?? "no image"));
  return box;
}

function verdictOf(slide) {
  return make("span", { class: `badge ${slide.verdict}` }, slide.verdict);
}

function prediction(slide) {
  if (!slide.prediction) return null;
  const said = slide.said ?? {};
  const line = make("p", { class: "says" }, make("b", {}, slide.prediction));
  if (said.uncertain) line.append(", ", make("b", {}, "uncertain: read again"));
  if (slide.score !== undefined) line.append(said.positive ? `, score for ${said.positive} ` : ", score ", make("b", {}, number(slide.score, 3)));
  if (slide.score !== undefined && said.threshold !== undefined) {
    line.append(" ", make("span", { class: "muted" }, `(operating point ${number(said.threshold, 3)}, ${said.calibrated ? "calibrated" : "not calibrated"})`));
  }
  return line;
}

function leftOut(slide) {
  const parts = [`${number(slide.n_excluded_tiles)} tile${slide.n_excluded_tiles === 1 ? "" : "s"} for quality: `];
  Object.entries(slide.excluded ?? {}).forEach(([reason, count], index) => {
    parts.push(index ? ", " : "", make("i", { class: "swatch solid", style: `background: ${colours[reason]}` }), `${measures[reason] ?? reason} ${number(count)}`);
  });
  return parts;
}

function facts(slide) {
  const list = make("dl", { class: "facts" });
  const say = (name, ...text) => list.append(make("dt", {}, name), make("dd", {}, ...text));
  const sayWide = (name, ...text) => list.append(make("dt", { class: "alone" }, name), make("dd", { class: "wide" }, ...text));
  const has = (name) => slide[name] !== undefined;
  const steps = () => Object.entries(slide.seconds).map(([step, seconds]) => `${step} ${number(seconds, 2)}`).join(", ");
  if (has("tissue_mm2")) say("Tissue", `${area(slide.tissue_mm2)} mm²`);
  if (has("segmented_mm2")) say("Segmented", Object.entries(slide.segmented_mm2).map(([name, mm2]) => `${name} ${area(mm2)} mm²`).join(", "));
  if (has("n_nuclei")) say("Nuclei", number(slide.n_nuclei), has("nuclei_per_mm2") ? `, ${number(slide.nuclei_per_mm2)} per mm²` : "");
  if (has("n_tiles")) say("Tiles", number(slide.n_tiles), slide.n_invalid_tiles ? `, and ${number(slide.n_invalid_tiles)} unreadable` : "");
  if (slide.n_excluded_tiles) sayWide("Left out", ...leftOut(slide));
  if (has("mpp")) say("Resolution", `${Number(slide.mpp.toPrecision(4))} µm a pixel`, has("mpp_source") ? `, from ${slide.mpp_source}` : "");
  if (slide.width && slide.height) say("Size", `${slide.width} × ${slide.height} px`);
  if (has("label")) say("Label", slide.label, has("split") ? ` (${slide.split})` : "");
  if (has("patient_id")) say("Patient", slide.patient_id);
  if (has("flags")) sayWide("Noted", slide.flags.map(spaced).join(", "));
  if (has("seconds")) sayWide("Time", `${number(slide.total, 1)} s: ${steps()}`, has("reused") ? `; reused: ${slide.reused.join(", ")}` : "");
  if (has("path")) sayWide("File", slide.path);
  return list;
}

function why(slide) {
  if (!slide.reason && !slide.message) return null;
  const both = slide.reason && slide.message;
  const earlier = slide.verdict === "failed" && slide.thumbnail ? make("div", {}, "The picture was made before it failed, perhaps by an earlier run.") : "";
  return make("div", { class: `why ${slide.verdict}` }, slide.reason ? make("b", {}, spaced(slide.reason)) : "", both ? ": " : "", ...optionsWhole(slide.message ?? ""), earlier);
}

function card(slide) {
  const third = slide.panels?.length > 2 ? " has-third" : "";
  return make("article", { class: `card${third}`, "data-id": slide.slide_id },
    pictures(slide),
    make("div", {}, make("div", { class: "head" }, make("h2", {}, slide.slide_id), verdictOf(slide)), why(slide), prediction(slide), facts(slide)));
}

function row(slide) {
  const shown = (value, say) => (value === undefined ? "" : say(value));
  const small = slide.thumbnail ? make("img", { src: slide.thumbnail, alt: "" }) : make("span", { class: "none" });
  const note = [slide.prediction, slide.said?.uncertain && "uncertain", slide.reason && spaced(slide.reason), slide.message, ...(slide.flags ?? []).map(spaced)];
  const line = make("tr", { class: "slide", tabindex: "0", "data-id": slide.slide_id, "aria-expanded": "false" },
    make("td", {}, small), make("td", { class: "name" }, slide.slide_id), make("td", { class: "name" }, verdictOf(slide)),
    make("td", { class: "note" }, make("div", {}, ...optionsWhole(note.filter(Boolean).join(", ")))),
    make("td", {}, shown(slide.score, (score) => number(score, 3))), make("td", { class: "aside" }, shown(slide.tissue_mm2, area)),
    make("td", { class: "aside" }, shown(slide.n_tiles, number)), make("td", { class: "aside" }, slide.total ? number(slide.total, 1) : ""));
  const toggle = () => {
    const isOpen = line.getAttribute("aria-expanded") === "true";
    line.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) line.nextElementSibling.remove();
    else line.after(make("tr", { class: "opened" }, make("td", { colspan: "8" }, card(slide))));
  };
  line.addEventListener("click", toggle);
  line.addEventListener("keydown", (event) => {
    if (event.key === "Enter") toggle();
  });
  return line;
}

function table(some) {
  const names = [["", ""], ["slide", "left"], ["verdict", "left"], ["what was said of it", "left note"], ["score", ""], ["tissue, mm²", "aside"], ["tiles", "aside"], ["time, s", "aside"]];
  const head = make("thead", {}, make("tr", {}, ...names.map(([name, of]) => make("th", { class: of }, name))));
  return make("table", { class: "rows" }, head, make("tbody", {}, ...some.map(row)));
}

let page = 0;
let chosen = slides;
let isPrinted = false; // paper has no pages to turn: it gets all chosen slides

function choose() {
  const verdict = document.querySelector("input[name=verdict]:checked").value;
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const note = byId("note").value;
  chosen = slides.filter((slide) =>
    (verdict === "all" || slide.verdict === verdict) && (!note || slide.notes.includes(note)) && words.every((word) => slide.text.includes(word)));
  const compare = comparisons[byId("sort").value];
  if (compare) chosen.sort(compare);
  page = 0;
  show();
}

function show() {
  const asRows = byId("view").value === "rows";
  const size = isPrinted ? chosen.length : PER_PAGE[byId("view").value];
  const start = isPrinted ? 0 : page * size;
  const some = chosen.slice(start, start + size);
  const none = slides.length ? "No slide fits." : "This run has no slides.";
  const nothing = make("p", { class: "muted" }, none);
  byId("list").replaceChildren(...(some.length ? (asRows ? [table(some)] : some.map(card)) : [nothing]));
  document.querySelectorAll(".pages").forEach((bar, place) => {
    const turn = (text, to, isPossible) => {
      const button = make("button", { type: "button" }, text);
      button.disabled = !isPossible;
      button.addEventListener("click", () => { page = to; show(); byId("controls").scrollIntoView(); });
      return button;
    };
    const chosenFrom = chosen.length < slides.length ? `, chosen from ${number(slides.length)}` : "";
    const text = `${number(start + 1)}–${number(start + some.length)} of ${number(chosen.length)}${chosenFrom}`;
    bar.hidden = chosen.length <= size && (place > 0 || chosen.length === slides.length);
    bar.replaceChildren(make("span", {}, some.length ? text : ""), ...(chosen.length > size ? [turn("Previous", page - 1, page > 0), turn("Next", page + 1, start + size < chosen.length)] : []));
  });
}

const counts = new Map();
for (const slide of slides) for (const note of new Set(slide.notes)) counts.set(note, (counts.get(note) ?? 0) + 1);
for (const [note, count] of [...counts].sort((a, b) => b[1] - a[1])) byId("note").append(make("option", { value: note }, `${note} (${number(count)})`));
byId("view").value = slides.length > MANY ? "rows" : "cards";
byId("controls").hidden = false;
byId("controls").addEventListener("input", choose);
byId("controls").addEventListener("submit", (event) => event.preventDefault());
for (const [when, value] of [["beforeprint", true], ["afterprint", false]]) {
  addEventListener(when, () => {
    isPrinted = value;
    if (chosen.length > PER_PAGE[byId("view").value]) show();
  });
}
choose();
