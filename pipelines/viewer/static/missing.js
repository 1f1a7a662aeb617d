// Tiles of the slide that could not be loaded. A coarser one is drawn in their place, which could
// be taken for what the slide looks like: it is said, and they are asked for again with the next move.

import { fetchOk } from "./dom.js";
import { tell } from "./trouble.js";

export function watchTiles(viewer) {
  const missing = new Set();
  viewer.addHandler("tile-load-failed", async ({ tile, message }) => {
    missing.add(tile);
    if (missing.size > 1) return;
    // An image does not say why it could not be loaded; the answer does.
    const error = await fetchOk(tile.getUrl()).then(
      () => new Error(message),
      (refused) => refused,
    );
    if (missing.has(tile)) tell("image", error);
  });
  viewer.addHandler("animation-start", () => {
    if (!missing.size) return;
    for (const tile of missing) tile.exists = true;
    missing.clear();
    tell("image", null);
  });
  viewer.addHandler("close", () => missing.clear());
}
