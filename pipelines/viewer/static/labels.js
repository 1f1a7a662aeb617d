// The classes of a segmented slide: tiles of labels in view, coloured here so that a class can be
// hidden at once, and so that the class under the pointer is known.

import { fetchOk, slideUrl } from "./dom.js";

export class Labels {
  constructor(slide, { onChange, onError }) {
    Object.assign(this, { slide, onChange, onError, ...slide.segmentation });
    this.shown = new Set(this.classes.slice(1).map((each) => each.label)); // all but the background
    this.tiles = new Map(); // by "level/column_row"; null while on its way
    this.errors = new Map(); // of tiles in view that could not be loaded
    this.level = this.levels.length - 1; // that is drawn; the wanted one once all of it is here
  }

  show(label, isShown) {
    if (isShown) this.shown.add(label);
    else this.shown.delete(label);
    for (const tile of this.tiles.values()) if (tile) this.paint(tile);
  }

  // Ask for the tiles in view, of the coarsest level whose pixels are no larger than the screen's.
  keep({ x, y, scale, w, h }) {
    const fine = this.downsamples.filter((downsample) => downsample * scale <= 1).length;
    const wanted = Math.max(0, fine - 1);
    const keys = this.inView(wanted, { x, y, scale, w, h });
    for (const key of keys) if (!this.tiles.has(key)) this.fetch(key);
    if (keys.every((key) => this.tiles.get(key))) this.level = wanted;
    const kept = new Set([...keys, ...this.inView(this.level, { x, y, scale, w, h })]);
    for (const found of [this.tiles, this.errors]) {
      for (const key of found.keys()) if (!kept.has(key)) found.delete(key);
    }
  }

  inView(level, { x, y, scale, w, h }) {
    const edge = this.tile_px * this.downsamples[level] * scale;
    const range = (start, length, pixels) => {
      const first = Math.max(0, Math.floor(-start / edge));
      const last = Math.min(Math.ceil(pixels / this.tile_px), Math.ceil((length - start) / edge));
      return Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
    };
    const [width, height] = this.levels[level];
    const rows = range(y, h, height);
    return range(x, w, width).flatMap((c) => rows.map((row) => `${level}/${c}_${row}`));
  }

  async fetch(key) {
    this.tiles.set(key, null);
    try {
      const url = `${slideUrl(this.slide.slide_id)}/labels/${key}.png?${this.version}`;
      const answer = await fetchOk(url);
      const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
      const picture = await createImageBitmap(await answer.blob(), options);
      if (!this.tiles.has(key)) return;
      const { width, height } = picture;
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(picture, 0, 0);
      const grey = context.getImageData(0, 0, width, height).data;
      const labels = Uint8Array.from({ length: width * height }, (_, i) => grey[4 * i]);
      const [level, column, row] = key.split(/[/_]/).map(Number);
      const tile = { canvas, labels, level, column, row };
      this.paint(tile);
      this.tiles.set(key, tile);
      this.errors.delete(key);
      this.onChange();
    } catch (error) {
      if (!this.tiles.has(key)) return;
      this.tiles.delete(key); // asked for again with the next move
      this.errors.set(key, error);
      this.onError();
    }
  }

  paint({ canvas, labels }) {
    const colours = new Uint32Array(256); // of label 0, and of a class that is hidden: none
    for (const { label, colour } of this.classes) {
      const rgb = Number.parseInt(colour.slice(1), 16);
      const bgr = ((rgb & 255) << 16) | (rgb & 0xff00) | (rgb >> 16);
      if (this.shown.has(label)) colours[label] = (0xff000000 | bgr) >>> 0;
    }
    const painted = Uint32Array.from(labels, (label) => colours[label]);
    const data = new Uint8ClampedArray(painted.buffer);
    const picture = new ImageData(data, canvas.width, canvas.height);
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }

  draw(context, { x, y, scale }) {
    for (const tile of this.tiles.values()) {
      if (tile?.level !== this.level) continue;
      const unit = this.downsamples[tile.level] * scale;
      context.imageSmoothingEnabled = unit < 1;
      // Edges on whole pixels of the screen: tiles that meet neither gape nor overlap.
      const [left, right] = edges(x, tile.column * this.tile_px, tile.canvas.width, unit);
      const [top, bottom] = edges(y, tile.row * this.tile_px, tile.canvas.height, unit);
      context.drawImage(tile.canvas, left, top, right - left, bottom - top);
    }
  }

  // The class at a level-0 pixel: null where its tile is not here, undefined where nobody looked.
  at(x, y) {
    const unit = this.downsamples[this.level];
    const [column, row] = [Math.floor(x / unit), Math.floor(y / unit)];
    const [c, r] = [Math.floor(column / this.tile_px), Math.floor(row / this.tile_px)];
    const tile = this.tiles.get(`${this.level}/${c}_${r}`);
    if (!tile) return null;
    const at = (row - r * this.tile_px) * tile.canvas.width + (column - c * this.tile_px);
    return this.classes.find((each) => each.label === tile.labels[at]);
  }
}

function edges(origin, start, length, unit) {
  return [origin + start * unit, origin + (start + length) * unit].map(Math.round);
}
