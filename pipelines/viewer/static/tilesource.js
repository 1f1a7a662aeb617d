// The pyramid as OpenSeadragon asks for it.

import { slideUrl } from "./dom.js";

const OpenSeadragon = window.OpenSeadragon;

// Our levels count from the finest, OpenSeadragon's from the coarsest. The last tile of a level
// may reach past the slide by a part of its pixel; saying so keeps every pixel at its place.
export function tileSource({ slide_id: slideId, image }) {
  const { levels, downsamples, tile_px: tilePx, version } = image;
  const [width, height] = levels[0];
  const finest = levels.length - 1;
  const source = new OpenSeadragon.TileSource({
    width,
    height,
    tileSize: tilePx,
    minLevel: 0,
    maxLevel: finest,
  });
  source.getLevelScale = (level) => 1 / downsamples[finest - level];
  source.getNumTiles = (level) => {
    const [w, h] = levels[finest - level];
    return new OpenSeadragon.Point(Math.ceil(w / tilePx), Math.ceil(h / tilePx));
  };
  source.getTileUrl = (level, x, y) =>
    `${slideUrl(slideId)}/tiles/${finest - level}/${x}_${y}.jpg?${version}`;
  source.getTileBounds = (level, x, y, isSource) => {
    const [w, h] = levels[finest - level];
    const size = [Math.min(tilePx, w - x * tilePx), Math.min(tilePx, h - y * tilePx)];
    if (isSource) return new OpenSeadragon.Rect(0, 0, ...size);
    const unit = downsamples[finest - level] / width;
    return new OpenSeadragon.Rect(
      x * tilePx * unit,
      y * tilePx * unit,
      size[0] * unit,
      size[1] * unit,
    );
  };
  return source;
}
