"""`segmentation.png`: the slide, and the slide under its classes, with what each covers."""

from collections.abc import Iterable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.area import in_mm2
from pipelines.heatmaps.picture import OPACITY, draw_scale_bar, draw_slide, faded, save_figure
from pipelines.segmentation.geojson import read_labels
from pipelines.segmentation.labels import fraction_colour_of

MOST_PX = 1400**2
WIDTH_INCHES = 13.0
LINE_INCHES = 0.24  # of the legend


def write_segmentation_picture(
    path: Path,
    image: Path,
    name: str,
    areas_mm2: Mapping[str, float],
    *,
    level0_mpp: float,
    dimensions: tuple[int, int],
    title: str,
) -> None:
    """Draw the labels over the slide's pyramid `image`, beside the bare slide.

    `areas_mm2` is by class in the order of the labels, `dimensions` (width, height) of level 0.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    labels, downsample = read_labels(image, name, level0_mpp=level0_mpp, most_px=MOST_PX)
    width_mm, height_mm = (n * level0_mpp / 1000 for n in dimensions)
    pixels = draw_slide(image)
    handles = [
        Patch(color=(*fraction_colour_of(index), OPACITY), label=f"{of_class}  {in_mm2(area)}")
        for index, (of_class, area) in enumerate(areas_mm2.items())
    ]
    columns = _columns(str(handle.get_label()) for handle in handles)
    heights = (
        max(2.5, 6.2 * height_mm / width_mm) + 0.5,
        LINE_INCHES * (ceil(len(handles) / columns) + 2),
    )
    figure = Figure(figsize=(WIDTH_INCHES, sum(heights)), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=heights)
    above, below = parts
    above.suptitle(title, fontsize=12)
    axes = above.subplots(1, 2)
    for ax, under in zip(axes, (pixels, faded(pixels)), strict=True):
        ax.imshow(under, extent=(0, width_mm, height_mm, 0), interpolation="antialiased")
        ax.set(xlim=(0, width_mm), ylim=(height_mm, 0), xticks=[], yticks=[])
    draw_scale_bar(axes[0], width_mm, height_mm)
    table = np.zeros((256, 4))
    for index in range(len(areas_mm2)):
        table[index + 1] = (*fraction_colour_of(index), OPACITY)
    pixel_mm = downsample * level0_mpp / 1000
    extent = (0, labels.shape[1] * pixel_mm, labels.shape[0] * pixel_mm, 0)
    axes[1].imshow(table[labels], extent=extent, interpolation="nearest")
    axes[1].set(xlim=(0, width_mm), ylim=(height_mm, 0))
    below.legend(handles=handles, loc="upper center", ncols=columns, frameon=False, fontsize=10)
    below.supxlabel(
        "No colour and no grey veil: the network did not look there. "
        "Research use only, not a medical device.",
        fontsize=9,
        color="0.35",
    )
    save_figure(figure, path)


def _columns(labels: Iterable[str]) -> int:
    """How many of the legend's labels fit side by side."""
    widths = [0.7 + 0.1 * len(label) for label in labels]
    return max(1, min(len(widths), int(WIDTH_INCHES / max(widths, default=WIDTH_INCHES))))
