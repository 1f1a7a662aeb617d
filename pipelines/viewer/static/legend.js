// What the colours of a heatmap's channel mean.

import { element } from "./dom.js";

export function legend(channel, { warning, isUnreadable }) {
  const key = (className, text) =>
    element("p", { className: "key" }, element("i", { className }), text);
  return [
    element("p", { className: "legend-title" }, channel.title),
    element(
      "div",
      { className: "bar" },
      element("span", {
        className: "colours", // as opaque as over the slide
        style: { background: `linear-gradient(90deg, ${channel.stops.join(", ")})` },
      }),
      element("i", { id: "tick", hidden: true }),
    ),
    element(
      "p",
      { className: "ends" },
      element("span", {}, channel.low_label),
      element("span", {}, channel.high_label),
    ),
    element("p", { className: "small" }, channel.meaning),
    warning && element("p", { className: "note relative small" }, warning),
    key("swatch", "Not looked at: no colour over the slide"),
    isUnreadable && key("swatch hatched", "Could not be read from the file"),
  ].filter(Boolean);
}
