// The line that shows or hides an overlay and says how opaque it is.

import { element } from "./dom.js";

// `change` is called with what a person changed: `isShown`, or `opacity` from 0 to 1.
export function showLine({ id, opacityId, what, isShown, opacity, change }) {
  const toggle = element("input", { type: "checkbox", id, checked: isShown });
  toggle.onchange = () => change({ isShown: toggle.checked });
  const slider = element("input", {
    type: "range",
    id: opacityId,
    min: 0,
    max: 100,
    step: 1,
    "aria-label": what,
  });
  slider.value = Math.round(100 * opacity);
  slider.oninput = () => change({ opacity: slider.valueAsNumber / 100 });
  return element(
    "label",
    { className: "line" },
    toggle,
    element("span", {}, "Show"),
    slider,
    element("output", { id: `${opacityId}-text` }, `${slider.value} %`),
  );
}
