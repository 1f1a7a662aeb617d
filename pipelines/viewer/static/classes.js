// The part of the right column about the segmentation: its classes, their colours and areas.

import { area, element, percent } from "./dom.js";
import { showLine } from "./show.js";
import { troubleLine } from "./trouble.js";

export function segmentationSection(panel) {
  const { segmentation } = panel.slide;
  if (!segmentation) return null;
  const { classes, unreadable_tissue_mm2: unreadable } = segmentation;
  return element(
    "section",
    { id: "segmentation-section" },
    element("h3", {}, `Segmentation: ${segmentation.name}`),
    showLine({
      id: "segmentation",
      opacityId: "segmentation-opacity",
      what: "Opacity of the segmentation",
      ...panel.segmentation,
      change: (changed) => panel.setSegmentation(changed),
    }),
    troubleLine("segmentation"),
    element("ul", { className: "classes" }, ...classes.map((each, i) => row(panel, each, i > 0))),
    element(
      "p",
      { className: "muted small" },
      `The most probable class of each pixel, on the ${area(segmentation.looked_mm2)} of tissue ` +
        "that were looked at. No colour: not looked at, or a class without its tick.",
    ),
    unreadable > 0
      ? element("p", { className: "note partial small" }, `${area(unreadable)} could not be read.`)
      : null,
  );
}

function row(panel, { label, name, colour, area_mm2: mm2, share_of_looked: share }, isUsual) {
  const checked = panel.chosenClasses.get(name) ?? isUsual;
  const toggle = element("input", { type: "checkbox", checked });
  toggle.onchange = () => {
    panel.chosenClasses.set(name, toggle.checked);
    panel.onClass(label, toggle.checked);
  };
  return element(
    "li",
    {},
    element(
      "label",
      { className: "class" },
      toggle,
      element("i", { className: "swatch class-colour", style: { background: colour } }),
      element("span", { className: "class-name" }, name),
      element("span", { className: "class-area" }, area(mm2)),
      element("span", { className: "class-share" }, share === null ? "" : percent(share)),
    ),
  );
}
