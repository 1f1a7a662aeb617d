// Outlines of the nuclei in view, fetched cell by cell of the slide.

import { fetchJson, slideUrl } from "./dom.js";
import { outlineOf } from "./overlay.js";

const NUCLEI_MPP = 3; // µm per screen pixel up to which nuclei are drawn: one is 2 pixels wide there

export class Nuclei {
  constructor(slide, { onChange, onError }) {
    Object.assign(this, { slide, onChange, onError, ...slide.nuclei });
    this.outlines = new Map(); // by cell, "column_row"; null while on their way
    this.errors = new Map(); // of cells in view that could not be loaded
  }

  // Ask for cells that come into view, let others go.
  keep({ origin, scale, size }) {
    const wanted = this.inView({ origin, scale, size });
    for (const found of [this.outlines, this.errors]) {
      for (const key of found.keys()) if (!wanted.has(key)) found.delete(key);
    }
    for (const key of wanted) if (!this.outlines.has(key)) this.fetch(key);
  }

  inView({ origin, scale, size }) {
    const { level0_mpp: level0Mpp, levels } = this.slide.image;
    const wanted = new Set();
    if (level0Mpp / scale > NUCLEI_MPP) return wanted;
    const cell = this.cell_level0_px;
    const range = (start, length, limit) => {
      const first = Math.max(0, Math.floor(-start / scale / cell));
      const last = Math.min(Math.ceil(limit / cell), Math.ceil((length - start) / scale / cell));
      return Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
    };
    const [width, height] = levels[0];
    for (const column of range(origin.x, size.x, width)) {
      for (const row of range(origin.y, size.y, height)) wanted.add(`${column}_${row}`);
    }
    return wanted;
  }

  async fetch(key) {
    this.outlines.set(key, null);
    try {
      const url = `${slideUrl(this.slide.slide_id)}/nuclei/${key}.json?${this.version}`;
      const outlines = outlineOf(await fetchJson(url));
      if (!this.outlines.has(key)) return;
      this.outlines.set(key, outlines);
      this.errors.delete(key);
      this.onChange();
    } catch (error) {
      if (!this.outlines.has(key)) return;
      this.outlines.delete(key); // asked for again with the next move
      this.errors.set(key, error);
      this.onError();
    }
  }
}
