// What could not be loaded, said where a person would look for it: nothing drawn is not none found.

import { byId, element } from "./dom.js";

const NAMES = {
  run: "The list of slides",
  image: "Part of the slide in view",
  heatmap: "The heatmap",
  outline: "The outline of the tissue",
  nuclei: "Nuclei in view",
  segmentation: "The segmentation in view",
};

export function troubleLine(what) {
  const id = `${what}-trouble`;
  return element("p", { id, className: "note failed small", role: "status", hidden: true });
}

// Say the error of one of `NAMES`; without an error that line goes.
export function tell(what, error) {
  const line = byId(`${what}-trouble`);
  if (!line) return;
  const text = error ? `${NAMES[what]} could not be loaded: ${error.message}` : "";
  if (line.textContent !== text) line.textContent = text; // said aloud with each change
  line.hidden = !error;
}
