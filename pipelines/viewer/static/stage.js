// The middle: the slide in OpenSeadragon, the overlay above it, scale bar and readout.

import { byId, fetchJson, fetchOk, length, niceLength, slideUrl, whole } from "./dom.js";
import { Labels } from "./labels.js";
import { watchTiles } from "./missing.js";
import { Nuclei } from "./nuclei.js";
import { Overlay, outlineOf } from "./overlay.js";
import { tileSource } from "./tilesource.js";
import { tell } from "./trouble.js";

const OpenSeadragon = window.OpenSeadragon;
const SCALE_BAR_PX = 160; // at most
const MAGNIFICATION_UM = 10; // magnification x µm per pixel: 20x is 0.5, by convention

export class Stage {
  constructor(onValue) {
    this.onValue = onValue;
    this.slide = null;
    this.channel = null; // the index of the one asked for
    this.values = null;
    this.looked = null; // a label a cell: why there is no value
    this.pointer = null;
    this.viewer = OpenSeadragon({
      element: byId("osd"),
      drawer: ["webgl", "canvas"], // the second, for old machines, is right to a screen pixel
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "BOTTOM_RIGHT",
      navigatorSizeRatio: 0.17,
      navigatorAutoFade: false,
      navigatorBackground: "#fff",
      navigatorBorderColor: "#c5ccd5",
      navigatorDisplayRegionColor: "#1d5f6e",
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { pinchRotate: false },
      animationTime: 0.35,
      springStiffness: 9,
      maxZoomPixelRatio: 8,
      minZoomImageRatio: 0.6,
      visibilityRatio: 0.4,
      timeout: 120_000,
    });
    this.overlay = new Overlay(document.createElement("canvas"));
    this.overlay.canvas.className = "overlay";
    this.viewer.canvas.append(this.overlay.canvas);
    watchTiles(this.viewer);
    this.viewer.addHandler("update-viewport", () => this.redraw());
    // Keys do the same wherever the focus is: those of the whole page.
    this.viewer.addHandler("canvas-key", (event) => {
      event.preventDefaultAction = true;
    });
    this.viewer.canvas.setAttribute("role", "application"); // it gets the arrow keys
    for (const kind of ["pointermove", "pointerleave"]) {
      byId("osd").addEventListener(kind, (event) => {
        this.pointer = kind === "pointermove" ? { x: event.clientX, y: event.clientY } : null;
        this.readOut();
      });
    }
    byId("zoom-in").onclick = () => this.zoom(1.6);
    byId("zoom-out").onclick = () => this.zoom(1 / 1.6);
    byId("zoom-home").onclick = () => this.home();
    byId("zoom-one").onclick = () => this.fullResolution();
  }

  // Show a slide as the server describes it; without an image the stage is empty. Of the slide that
  // is shown already, the view stays where it is.
  open(slide) {
    const isSame = Boolean(slide.image) && slide.slide_id === this.slide?.slide_id;
    this.viewer.preserveViewport = isSame;
    this.slide = slide.image ? slide : null;
    this.viewer.canvas.setAttribute("aria-label", this.slide ? `Slide ${slide.slide_id}` : "No slide");
    this.channel = this.values = this.looked = null;
    this.overlay.clear();
    this.viewer.close();
    for (const id of ["toolbar", "scale"]) byId(id).hidden = !this.slide;
    this.viewer.navigator.element.hidden = true;
    for (const id of ["zoom-text", "cursor-text", "value-text"]) byId(id).textContent = "";
    if (!this.slide) return;
    [this.overlay.slideSize] = slide.image.levels;
    this.overlay.unreadable = slide.image.unreadable;
    const then = { onChange: () => this.redraw(), onError: () => this.tellErrors() };
    if (slide.segmentation) this.overlay.labels = new Labels(slide, then);
    if (slide.nuclei) this.overlay.nuclei = new Nuclei(slide, then);
    // Where a scanner's levels are a factor 4 apart, the finer one is wanted sooner.
    const { downsamples } = slide.image;
    const steps = downsamples.slice(1).map((downsample, i) => downsample / downsamples[i]);
    this.viewer.minPixelRatio = 1 / Math.max(2, ...steps);
    this.viewer.open({ tileSource: tileSource(slide) });
  }

  // Lay one channel of the heatmap over the slide: its colours, then its numbers for the readout.
  async showChannel(index) {
    const { slide } = this;
    this.channel = index;
    this.overlay.cells = this.values = this.looked = null; // the legend is this channel's already
    this.redraw();
    tell("heatmap", null);
    const { version, cell_level0_px: cellPx, labels } = slide.heatmap;
    const url = `${slideUrl(slide.slide_id)}/heatmap/${index}`;
    const numbersAt = (at) => fetchOk(`${at}?${version}`).then((answer) => answer.arrayBuffer());
    // Another slide or channel may be chosen in the meantime.
    const isAsked = () => slide === this.slide && index === this.channel;
    try {
      const [picture, numbers, looked] = await Promise.all([
        fetchOk(`${url}.png?${version}`)
          .then((answer) => answer.blob())
          .then(createImageBitmap),
        numbersAt(`${url}.f32`),
        labels && numbersAt(`${slideUrl(slide.slide_id)}/heatmap/looked.u8`),
      ]);
      if (!isAsked()) return;
      Object.assign(this.overlay, { cells: picture, cellPx });
      this.values = new Float32Array(numbers);
      this.looked = looked && new Uint8Array(looked);
      this.redraw();
    } catch (error) {
      if (isAsked()) tell("heatmap", error);
    }
  }

  async showOutline(isShown) {
    const { slide, overlay } = this;
    overlay.isOutlineShown = isShown;
    tell("outline", null);
    if (isShown && slide && !overlay.outline) {
      try {
        const rings = await fetchJson(`${slideUrl(slide.slide_id)}/tissue.json`);
        if (slide === this.slide) overlay.outline = outlineOf(rings);
      } catch (error) {
        if (slide === this.slide && overlay.isOutlineShown) tell("outline", error);
      }
    }
    this.redraw();
  }

  showNuclei(areShown) {
    this.overlay.areNucleiShown = areShown;
    this.redraw();
  }

  // Of the slide's overlays that are drawn piece by piece, if they are shown.
  tellErrors() {
    const { areNucleiShown, nuclei, segmentation, labels } = this.overlay;
    const first = (pieces) => pieces?.errors.values().next().value;
    tell("nuclei", areNucleiShown && first(nuclei));
    tell("segmentation", segmentation.isShown && first(labels));
  }

  setOverlay({ opacity, isShown }) {
    Object.assign(this.overlay, { opacity, isShown });
    this.redraw();
  }

  setSegmentation(segmentation) {
    this.overlay.segmentation = segmentation;
    this.redraw();
  }

  showClass(label, isShown) {
    this.overlay.labels?.show(label, isShown);
    this.redraw();
  }

  zoom(factor) {
    if (this.slide) this.viewer.viewport.zoomBy(factor).applyConstraints();
  }

  // Move the view by steps of a tenth of the stage, to the right and down.
  pan(right, down) {
    if (!this.slide) return;
    const { viewport } = this.viewer;
    const { x, y } = viewport.getContainerSize().times(0.1);
    const step = new OpenSeadragon.Point(right * x, down * y);
    viewport.panBy(viewport.deltaPointsFromPixels(step)).applyConstraints();
  }

  home() {
    if (this.slide) this.viewer.viewport.goHome();
  }

  fullResolution() {
    const { viewport } = this.viewer;
    if (this.slide) viewport.zoomTo(viewport.imageToViewportZoom(1)).applyConstraints();
  }

  // Where level-0 (0, 0) is on screen and how many CSS pixels a level-0 pixel is.
  placement() {
    const { viewport } = this.viewer;
    const origin = viewport.pixelFromPoint(new OpenSeadragon.Point(0, 0), true);
    const right = viewport.pixelFromPoint(new OpenSeadragon.Point(1, 0), true);
    return { origin, scale: (right.x - origin.x) / this.slide.image.levels[0][0] };
  }

  redraw() {
    if (!this.slide || !this.viewer.isOpen()) return;
    const { origin, scale } = this.placement();
    const size = this.viewer.viewport.getContainerSize();
    if (this.overlay.areNucleiShown) this.overlay.nuclei?.keep({ origin, scale, size });
    this.overlay.draw({ origin, scale, width: size.x, height: size.y });
    this.tellErrors();
    const screenMpp = this.slide.image.level0_mpp / scale;
    const um = niceLength(SCALE_BAR_PX * screenMpp);
    byId("scale-text").textContent = length(um);
    byId("scale-bar").style.width = `${um / screenMpp}px`;
    const magnification = +(MAGNIFICATION_UM / screenMpp).toPrecision(2);
    const [w, h] = this.slide.image.levels[0];
    const isWithin = (start, length, limit) => start > -1 && start + length < limit + 1;
    const isWhole = isWithin(origin.x, w * scale, size.x) && isWithin(origin.y, h * scale, size.y);
    this.viewer.navigator.element.hidden = isWhole; // it would show what is there already
    byId("zoom-text").textContent =
      `${magnification}× equivalent, ${screenMpp.toPrecision(3)} µm a pixel`;
    this.readOut();
  }

  // Where the pointer is on the slide, and the heatmap's value there.
  readOut() {
    const [cursor, value] = [byId("cursor-text"), byId("value-text")];
    if (!this.pointer || !this.slide || !this.viewer.isOpen()) {
      cursor.textContent = value.textContent = "";
      this.onValue(null);
      return;
    }
    const box = byId("osd").getBoundingClientRect();
    const { origin, scale } = this.placement();
    const x = Math.floor((this.pointer.x - box.left - origin.x) / scale);
    const y = Math.floor((this.pointer.y - box.top - origin.y) / scale);
    const [width, height] = this.slide.image.levels[0];
    const isInside = x >= 0 && y >= 0 && x < width && y < height;
    cursor.textContent = isInside ? `x ${whole(x)}  y ${whole(y)} px` : "";
    const cell = isInside && this.values ? this.cellAt(x, y) : null;
    const said = [cell === null ? this.onValue(null) : this.onValue(...cell)];
    const { labels, segmentation } = this.overlay;
    if (isInside && labels && segmentation.isShown) {
      const found = labels.at(x, y);
      if (found !== null) said.push(`${labels.name}: ${found?.name ?? "not looked at"}`);
    }
    value.textContent = said.filter(Boolean).join("   ");
  }

  // The heatmap's value at a level-0 pixel, NaN where there is none, and the cell's label.
  cellAt(x, y) {
    const { rows, columns, cell_level0_px: cellPx, labels } = this.slide.heatmap;
    const [column, row] = [Math.floor(x / cellPx), Math.floor(y / cellPx)];
    if (column >= columns || row >= rows) return [NaN];
    const at = row * columns + column;
    return [this.values[at], this.looked ? labels[this.looked[at]] : undefined];
  }
}
