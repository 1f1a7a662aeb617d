"""The picture of an explained tile: maps with their legends, curves, and how far to trust them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from distill.explain.faithfulness import Curves
from pipelines.explain.explanation import ExplainedBy, Explanation, mean_area
from pipelines.heatmaps.picture import faded, save_figure
from pipelines.runfolder import NOTICE
from wsi.outline import outline
from wsi.slide import Pixels

COLUMNS = 4
SIGNED, UNSIGNED = "RdBu_r", "magma_r"
NUCLEUS = "#0072b2"
CLIP = 99.0  # percentile of a map's strengths at which its colours end
SMOOTH_SHARE = 1 / 96  # of the edge: maps are drawn with this blur, single pixels are not seen
# Okabe and Ito's colours, apart for the colour blind too.
COLOURS = ("#000000", "#e69f00", "#56b4e9", "#009e73", "#cc79a7", "#d55e00", "#0072b2")


def write_explanation(
    path: Path, explained: Explanation, *, target: str, title: str, mpp: float
) -> None:
    """Draw an explanation; `target` is the class, `mpp` the tile's µm per pixel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 13.2), layout="constrained")
    figure.suptitle(_heading(explained, target, title), fontsize=14, x=0.01, ha="left")
    parts: Any = figure.subfigures(2, 1, height_ratios=(2.2, 1))
    maps, below = parts
    axes = maps.subplots(2, COLUMNS).ravel()
    rings = _rings(explained)
    _draw_tile(axes[0], explained, rings, mpp)
    grey = faded(explained.pixels)
    for ax, each in zip(axes[1:], explained.by, strict=False):
        _draw_map(maps, ax, each, grey, rings, target)
    for ax in axes[1 + len(explained.by) :]:
        ax.axis("off")
        ax.text(0, 0.9, f"Not for this encoder:\n{', '.join(explained.left_out)}", va="top")
    left, middle, right = below.subplots(1, 3, width_ratios=(1, 1, 1.5))
    _draw_curves(left, explained, "deletion", target)
    _draw_curves(middle, explained, "insertion", target)
    _draw_table(right, explained)
    figure.supxlabel(
        f"{NOTICE} The score of a tile is no probability of disease. A map shows what "
        "the model answers to, not what is there.",
        fontsize=10,
        color="0.3",
    )
    save_figure(figure, path, dpi=100)


def _heading(explained: Explanation, target: str, title: str) -> str:
    return (
        f"{title}\nThe model's score for {target} of this tile alone: {explained.score:.2f} "
        f"(log-odds {explained.log_odds:+.2f}; of glass {explained.baseline_log_odds:+.2f})"
    )


def _draw_tile(
    ax: Any, explained: Explanation, rings: list[NDArray[np.float64]], mpp: float
) -> None:
    size = len(explained.pixels)
    ax.imshow(explained.pixels, extent=(0, size, size, 0), interpolation="antialiased")
    _draw_rings(ax, rings, width=1.1)
    what = f"{size * mpp:.0f} µm wide"
    if explained.nuclei is not None:
        what += f"; {len(np.unique(explained.nuclei[explained.nuclei > 0]))} nuclei by the teacher"
    _label(ax, "Tile", what)
    bar = 20 / mpp
    left, bottom = size * 0.05, size * 0.95
    ax.plot([left, left + bar], [bottom] * 2, color="white", lw=5)
    ax.plot([left, left + bar], [bottom] * 2, color="black", lw=3)
    ax.text(
        left + bar / 2,
        size * 0.93,
        "20 µm",
        ha="center",
        va="bottom",
        fontsize=9,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
    )


def _draw_map(
    figure: Any,
    ax: Any,
    each: ExplainedBy,
    grey: Pixels,
    rings: list[NDArray[np.float64]],
    target: str,
) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    size = len(grey)
    values = gaussian_filter(each.values, size * SMOOTH_SHARE)
    limit = float(np.percentile(np.abs(values), CLIP)) or 1.0
    least = -limit if each.method.is_signed else 0.0
    scale = Normalize(least, limit, clip=True)
    colours = colormaps[SIGNED if each.method.is_signed else UNSIGNED]
    rgba = colours(scale(values))
    rgba[..., 3] = (
        np.clip(np.abs(values) / limit, 0, 1) ** 0.7 * 0.9
    )  # what is weak lets the tile through
    extent = (0, size, size, 0)
    ax.imshow(grey, extent=extent, interpolation="antialiased")
    ax.imshow(rgba, extent=extent, interpolation="nearest")
    _draw_rings(ax, rings, width=0.6)
    _label(ax, each.method.title, each.method.meaning)
    bar = figure.colorbar(
        ScalarMappable(scale, colours),
        cax=ax.inset_axes((0, -0.06, 1, 0.03)),
        orientation="horizontal",
    )
    ends = (f"against {target}", f"for {target}") if each.method.is_signed else ("weak", "strong")
    bar.set_ticks([least, limit], labels=ends)
    for text, side in zip(bar.ax.get_xticklabels(), ("left", "right"), strict=True):
        text.set_horizontalalignment(side)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=9)


def _draw_curves(ax: Any, explained: Explanation, kind: str, target: str) -> None:
    chance = np.mean([getattr(each, kind).numpy() for each in explained.chance], axis=0)
    share = explained.chance[0].share.numpy()
    ax.fill_between(share, 0, chance, color="0.9", lw=0, label="random order")
    for each, colour in zip(explained.by, COLOURS, strict=False):
        ax.plot(share, getattr(each.curves, kind).numpy(), color=colour, lw=1.8)
    done = {
        "deletion": ("Deletion", "the strongest pixels turn to glass: should fall at once"),
        "insertion": ("Insertion", "they return onto glass: should rise at once"),
    }
    ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="share of pixels", ylabel=f"score for {target}")
    _label(ax, *done[kind])
    ax.spines[["top", "right"]].set_visible(False)


def _draw_table(ax: Any, explained: Explanation) -> None:
    """The numbers beside the method's colour in the curves."""
    ax.axis("off")
    heads = ["deletion\narea ↓", "insertion\narea ↑", "shuffled\nweights ↓"]
    has_nuclei = explained.nuclei is not None
    heads += ["on nuclei\nagainst area"] if has_nuclei else []
    across = np.linspace(0.5, 0.95, len(heads))
    down = np.linspace(0.83, 0.14, len(explained.by) + 1)
    for x, head in zip(across, heads, strict=True):
        ax.text(x, 0.9, head, ha="center", va="bottom", fontsize=9.5, color="0.3")
    for y, each, colour in zip(down, explained.by, COLOURS, strict=False):
        cells = [*_areas(each.curves), f"{each.shuffled:.2f}"]
        if each.nuclei is not None:
            cells += [f"{each.nuclei.attribution:.0%} / {each.nuclei.area:.0%}"]
        ax.plot([0.0, 0.04], [y, y], color=colour, lw=3, solid_capstyle="butt")
        ax.text(0.06, y, each.method.title, va="center", fontsize=10)
        for x, cell in zip(across, cells, strict=True):
            ax.text(x, y, cell.replace("nan", "–"), ha="center", va="center", fontsize=10)
    y = down[-1]
    ax.plot([0.0, 0.04], [y, y], color="0.85", lw=9, solid_capstyle="butt")
    ax.text(0.06, y, "Random order", va="center", fontsize=10)
    areas = (mean_area(explained.chance, f"{kind}_area") for kind in ("deletion", "insertion"))
    for x, area in zip(across, areas, strict=False):
        ax.text(x, y, f"{area:.2f}", ha="center", va="center", fontsize=10)
    ax.text(
        0,
        0.05,
        "Shuffled weights: how alike the map of a network without knowledge is;\n"
        "near 1, the method draws the picture and not the reason.",
        va="top",
        fontsize=9,
        color="0.3",
    )
    ax.set(xlim=(0, 1.02), ylim=(-0.08, 1.05))


def _areas(curves: Curves) -> list[str]:
    return [f"{curves.deletion_area:.2f}", f"{curves.insertion_area:.2f}"]


def _label(ax: Any, title: str, meaning: str) -> None:
    ax.set_title(meaning, fontsize=9.5, color="0.3", loc="left")
    ax.annotate(
        title,
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 22),
        textcoords="offset points",
        fontsize=12,
        weight="bold",
    )
    if ax.images:
        ax.set(xticks=[], yticks=[])


def _rings(explained: Explanation) -> list[NDArray[np.float64]]:
    """The outer outlines of the nuclei, (K, 2) x and y in pixels of the tile."""
    if explained.nuclei is None:
        return []
    return [
        np.asarray(piece.exterior.coords)
        for number in np.unique(explained.nuclei[explained.nuclei > 0])
        for piece in outline(explained.nuclei == number, downsample=1.0)
    ]


def _draw_rings(ax: Any, rings: list[NDArray[np.float64]], *, width: float) -> None:
    for ring in rings:
        ax.plot(*ring.T, color="white", lw=2 * width, alpha=0.7)
        ax.plot(*ring.T, color=NUCLEUS, lw=width)
    ax.margins(0)
