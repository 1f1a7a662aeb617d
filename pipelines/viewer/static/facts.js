// The part of the right column that says what the slide is and how it was read.

import { area, element, whole, words } from "./dom.js";

export function facts(slide) {
  const [width, height] = slide.image?.levels[0] ?? [slide.width, slide.height];
  const mpp = slide.mpp ?? slide.image?.level0_mpp;
  const mm = (px) => ((px * mpp) / 1000).toFixed(1);
  const seconds = Object.values(slide.seconds).reduce((sum, s) => sum + s, 0);
  const rows = [
    ["Size", width && `${whole(width)} × ${whole(height)} px`],
    ["", width && mpp && `${mm(width)} × ${mm(height)} mm`],
    ["Resolution", mpp && `${+mpp.toPrecision(4)} µm a pixel`],
    ["", slide.mpp_source && `from ${slide.mpp_source}`],
    ["Tissue", slide.tissue_mm2 !== null && area(slide.tissue_mm2)],
    ["Nuclei", slide.n_nuclei !== null && whole(slide.n_nuclei)],
    ["", slide.nuclei_per_mm2 !== null && `${whole(Math.round(slide.nuclei_per_mm2))} per mm²`],
    ["Tiles", slide.n_tiles !== null && whole(slide.n_tiles)],
    ["", slide.n_invalid_tiles && `and ${whole(slide.n_invalid_tiles)} unreadable, left out`],
    ["", slide.n_excluded_tiles && leftOut(slide)],
    ["Noted", slide.flags.map(words).join(", ")],
    ["Format", slide.vendor],
    ["Patient", slide.patient_id],
    ["Label", slide.label],
    ["Time", seconds >= 0.05 && `${seconds.toFixed(1)} s`],
    ["File", slide.path && element("span", { className: "path", title: slide.path }, slide.path)],
  ].filter(([, value]) => value);
  const list = element("dl", { className: "facts" });
  for (const [name, value] of rows)
    list.append(element("dt", {}, name), element("dd", {}, value));
  return rows.length ? element("section", {}, element("h3", {}, "Slide"), list) : null;
}

function leftOut({ n_excluded_tiles: count, excluded, measures }) {
  const reasons = Object.entries(excluded).map(([of, n]) => `${measures[of] ?? words(of)} ${whole(n)}`);
  const tiles = `${whole(count)} ${count === 1 ? "tile" : "tiles"}`;
  return [`${tiles} left out for quality`, reasons.join(", ")].filter(Boolean).join(": ");
}
