// What is drawn over a slide. Everything here is in level-0 pixels; `draw` places it on screen.

const OUTLINE = "#0b7a4b";
const NUCLEUS = "#0072b2";
const HALO = "rgba(255, 255, 255, 0.85)";

export class Overlay {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.clear();
    this.opacity = 0.5;
    this.isShown = true;
    this.isOutlineShown = false;
    this.areNucleiShown = false;
    this.segmentation = { opacity: 0.5, isShown: false };
  }

  clear() {
    this.canvas.width = 0; // nothing of one slide may stay over another
    this.slideSize = [0, 0];
    this.cells = null; // the heatmap, a pixel a cell
    this.cellPx = 0;
    this.labels = null; // the classes of a segmentation
    this.outline = null;
    this.nuclei = null; // outlines of those in view
    this.unreadable = { cell_level0_px: 0, cells: [] };
  }

  // `origin` is where level-0 (0, 0) is on screen, `scale` CSS pixels per level-0 pixel.
  draw({ origin, scale, width, height }) {
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== w || this.canvas.height !== h) {
      Object.assign(this.canvas, { width: w, height: h });
    }
    const view = { x: origin.x * ratio, y: origin.y * ratio, scale: scale * ratio, w, h };
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.clearRect(0, 0, w, h);
    this.context.save();
    this.clip(view); // the last cells reach over the slide's edge
    if (this.isShown && this.cells) this.drawCells(view);
    if (this.segmentation.isShown && this.labels) this.drawLabels(view);
    if (this.unreadable.cells.length) this.drawUnreadable(view, ratio);
    this.context.restore();
    if (this.areNucleiShown && this.nuclei) this.drawNuclei(view, ratio);
    if (this.isOutlineShown && this.outline) this.drawLine(this.outline, OUTLINE, 1.75, view, ratio);
  }

  clip({ x, y, scale }) {
    const [width, height] = this.slideSize;
    this.context.beginPath();
    this.context.rect(x, y, width * scale, height * scale);
    this.context.clip();
  }

  drawCells({ x, y, scale, w, h }) {
    const cell = this.cellPx * scale;
    const first = (start, limit) => Math.min(limit, Math.max(0, Math.floor(-start / cell)));
    const last = (start, size, limit) =>
      Math.max(0, Math.min(limit, Math.ceil((size - start) / cell)));
    const [c0, r0] = [first(x, this.cells.width), first(y, this.cells.height)];
    const columns = last(x, w, this.cells.width) - c0;
    const rows = last(y, h, this.cells.height) - r0;
    if (columns <= 0 || rows <= 0) return;
    const { context } = this;
    context.globalAlpha = this.opacity;
    context.imageSmoothingEnabled = cell < 1.5; // cells finer than the screen are averaged
    context.imageSmoothingQuality = "high";
    const at = [x + c0 * cell, y + r0 * cell, columns * cell, rows * cell];
    context.drawImage(this.cells, c0, r0, columns, rows, ...at);
    context.globalAlpha = 1;
  }

  drawLabels(view) {
    this.labels.keep(view);
    this.context.globalAlpha = this.segmentation.opacity;
    this.labels.draw(this.context, view);
    this.context.globalAlpha = 1;
  }

  drawUnreadable({ x, y, scale }, ratio) {
    const { context } = this;
    const cell = this.unreadable.cell_level0_px * scale;
    context.fillStyle = "#fff";
    context.beginPath();
    for (const [column, row] of this.unreadable.cells) {
      context.rect(x + column * cell, y + row * cell, cell, cell);
    }
    context.fill();
    context.fillStyle = this.hatch ??= hatch(context, ratio);
    context.fill();
  }

  drawNuclei(view, ratio) {
    for (const outlines of this.nuclei.outlines.values()) {
      if (outlines) this.drawLine(outlines, NUCLEUS, 1.25, view, ratio);
    }
  }

  drawLine(line, colour, width, { x, y, scale }, ratio) {
    const { context } = this;
    const path = new Path2D();
    path.addPath(line, new DOMMatrix([scale, 0, 0, scale, x, y]));
    context.lineJoin = "round";
    for (const [style, times] of [
      [HALO, 2],
      [colour, 1],
    ]) {
      context.strokeStyle = style;
      context.lineWidth = times * width * ratio;
      context.stroke(path);
    }
  }
}

export function outlineOf(rings) {
  const path = new Path2D();
  for (const ring of rings) {
    ring.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
}

function hatch(context, ratio) {
  const edge = Math.round(8 * ratio);
  const tile = new OffscreenCanvas(edge, edge);
  const pen = tile.getContext("2d");
  pen.strokeStyle = "#8a94a3";
  pen.lineWidth = ratio;
  for (const shift of [-edge, 0, edge]) {
    pen.moveTo(shift, edge);
    pen.lineTo(shift + edge, 0);
  }
  pen.stroke();
  return context.createPattern(tile, "repeat");
}
