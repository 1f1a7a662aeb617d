"""`heatmap.png`: the slide, and the slide under its heatmap, with legend and scale bar."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np

from pipelines.heatmaps.channels import Channel, colourise, is_shown_unasked
from pipelines.heatmaps.looked import reasons
from pipelines.heatmaps.ome_zarr import Heatmap
from pipelines.pixels import open_pyramid, version_of
from pipelines.unreadable import small_picture
from wsi.atomic import replacing
from wsi.slide import Pixels

LONGEST_PX = 1400  # of the slide as it is drawn
OPACITY = 0.65  # of what lies over a slide, in every picture
LABEL_CHARS = 20  # a line beside the colour bar
LABEL_CHARS_INCH = 8  # along the colour bar, by the inch of the figure
GREYED = 0.6  # how much of the tissue shows under colours
UNDER_LEGEND = "0.8"  # grey that tissue has there on average: a legend then shows the map's colours
NICE = (1, 2, 5)
WITHHELD = (
    "The slide was called negative. Its map of “{title}” only compares\n"
    "tiles within the slide and lights up all the same: it is not drawn here."
)


def write_picture(
    path: Path,
    image: Path,
    heatmap: Heatmap,
    *,
    title: str,
    prediction: Mapping[str, Any] | None = None,
    channels: int = 1,
) -> None:
    """Draw the heatmap's first channels over the slide's pyramid `image`, beside the bare slide.

    Both are placed by their physical coordinates, so that what lies together belongs together.
    Where the slide's `prediction` is negative and a channel lights up all the same, the picture
    says so instead.
    """
    from matplotlib.figure import Figure

    width_mm, height_mm = (n * heatmap.level0_mpp / 1000 for n in heatmap.dimensions)
    pixels = draw_slide(image)
    ratio = height_mm / width_mm
    figure = Figure(
        figsize=(6.5 * (1 + channels), max(2.5, 5.7 * ratio) + 0.9), layout="constrained"
    )
    figure.suptitle(title, fontsize=12)
    axes = figure.subplots(1, 1 + channels)
    for ax in axes:
        ax.imshow(pixels, extent=(0, width_mm, height_mm, 0), interpolation="antialiased")
        ax.set(xlim=(0, width_mm), ylim=(height_mm, 0), xticks=[], yticks=[])
    draw_scale_bar(axes[0], width_mm, height_mm)
    caption = "Research use only, not a medical device."
    shown = heatmap.channels[:channels]
    for number, (ax, channel) in enumerate(zip(axes[1:], shown, strict=True)):
        if is_shown_unasked(channel, prediction or {}):
            _draw_heatmap(figure, ax, heatmap, number)
        else:
            ax.set_title(WITHHELD.format(title=channel.title), fontsize=10)
    if any(is_shown_unasked(channel, prediction or {}) for channel in shown):
        missing = "outline" if any(_has_pale_middle(channel) for channel in shown) else "colour"
        caption = f"No {missing}: the model did not look there{_because(heatmap)}. {caption}"
    figure.supxlabel(caption, fontsize=9, color="0.35")
    save_figure(figure, path)


def save_figure(figure: Any, path: Path, *, dpi: int = 110) -> None:
    """Write a picture whole or not at all; in names of slides and classes a dollar sign is one."""
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with replacing(path) as tmp, rc_context({"text.parse_math": False}):
        figure.savefig(tmp, format="png", dpi=dpi)


def _draw_heatmap(figure: Any, ax: Any, heatmap: Heatmap, number: int) -> None:
    """A channel over the slide drawn in `ax`, in mm, with its legend."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    channel = heatmap.channels[number]
    limits = ax.get_xlim(), ax.get_ylim()
    slide = ax.images[0]
    slide.set_data(faded(slide.get_array()))
    _, rows, columns = heatmap.values.shape
    cell_mm = heatmap.cell_level0_px * heatmap.level0_mpp / 1000
    ax.imshow(
        colourise(heatmap.values[number], channel),
        extent=(0, columns * cell_mm, rows * cell_mm, 0),
        interpolation="nearest",
        alpha=OPACITY,
    )
    if _has_pale_middle(channel):
        for row, column in np.argwhere(np.isfinite(heatmap.values[number])).tolist():
            corner = column * cell_mm, row * cell_mm
            ax.add_patch(Rectangle(corner, cell_mm, cell_mm, fill=False, ec="0.35", lw=0.5))
    ax.set(xlim=limits[0], ylim=limits[1])
    mappable = ScalarMappable(Normalize(channel.low, channel.high), channel.colormap)
    bar = figure.colorbar(mappable, ax=ax, fraction=0.05, pad=0.02, alpha=OPACITY)
    bar.ax.set_facecolor(UNDER_LEGEND)
    bar.set_label(fill(channel.title, int(figure.get_figheight() * LABEL_CHARS_INCH)), fontsize=10)
    ticks = channel.ticks()
    bar.set_ticks(list(ticks), labels=[_wrapped(text) for text in ticks.values()])


def _has_pale_middle(channel: Channel) -> bool:
    """Whether a cell without effect looks like one without a value, were it not outlined."""
    return channel.low < 0 < channel.high


def _because(heatmap: Heatmap) -> str:
    """Why there are cells without colour, for the caption; empty where nobody said."""
    found = [] if heatmap.looked is None else reasons(heatmap.looked)
    return f" ({', '.join(found)})" if found else ""


def draw_slide(image: Path) -> Pixels:
    """The whole slide, (H, W, 3), with areas that did not decode hatched."""
    return small_picture(open_pyramid(image, version_of(image)), longest_px=LONGEST_PX)[0]


def faded(pixels: Pixels) -> Pixels:
    """A picture (H, W, 3) in pale grey, for what is laid over it to have the only colours."""
    grey = pixels.mean(2, keepdims=True)
    pale = 255 - (255 - grey) * GREYED
    return np.asarray(np.repeat(pale, 3, axis=2), np.uint8)


def _wrapped(text: str) -> str:
    return "\n".join(fill(line, LABEL_CHARS) for line in text.splitlines())


def nice_length(longest: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is at most `longest`.

    Examples
    --------
    >>> nice_length(0.37)
    0.2
    """
    power = 10.0 ** np.floor(np.log10(longest))
    return float(max(n * power for n in NICE if n * power <= longest))


def draw_scale_bar(ax: Any, width_mm: float, height_mm: float) -> None:
    """Draw a bar of a round length into the lower left of axes in mm, legible on any tissue."""
    length = nice_length(width_mm / 4)
    text = f"{length:g} mm" if length >= 1 else f"{length * 1000:g} µm"
    left, bottom = width_mm * 0.04, height_mm * 0.96
    for colour, width in (("white", 5), ("black", 3)):
        ax.plot([left, left + length], [bottom, bottom], color=colour, lw=width)
    ax.annotate(
        text,
        (left + length / 2, bottom),
        xytext=(0, 6),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )
