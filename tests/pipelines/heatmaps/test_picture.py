"""`heatmap.png`: what is drawn over the slide, and what is held back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from pipelines.heatmaps.ome_zarr import read_heatmap
from pipelines.heatmaps.picture import write_picture

NEGATIVE = {"prediction": "normal", "positive": "tumour"}


def drawn(run: Any, tmp_path: Path, prediction: dict[str, str] | None) -> np.ndarray:
    folder = run.path / "slides" / run.positive
    out = tmp_path / "heatmap.png"
    heatmap = read_heatmap(folder / "heatmap.ome.zarr")
    write_picture(out, folder / "image.ome.zarr", heatmap, title="slide", prediction=prediction)
    with Image.open(out) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def yellow_green(pixels: np.ndarray) -> int:
    """How many pixels have the upper colours of viridis, over the tissue or in the legend."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    return int(((green > red + 20) & (green > blue + 40)).sum())


def test_attention_of_a_negative_slide_is_not_drawn(attention_run: Any, tmp_path: Path) -> None:
    assert yellow_green(drawn(attention_run, tmp_path, None)) > 2000
    assert yellow_green(drawn(attention_run, tmp_path, NEGATIVE)) == 0
    positive = {"prediction": "tumour", "positive": "tumour"}
    assert yellow_green(drawn(attention_run, tmp_path, positive)) > 2000


def test_the_score_of_a_negative_slide_is_drawn(made_run: Any, tmp_path: Path) -> None:
    unsaid, negative = (drawn(made_run, tmp_path, said) for said in (None, NEGATIVE))
    assert (unsaid == negative).all()


def test_a_region_without_effect_differs_from_one_without_tiles(
    made_run: Any, tmp_path: Path
) -> None:
    folder = made_run.path / "slides" / made_run.positive
    heatmap = read_heatmap(folder / "heatmap.ome.zarr")
    signed = replace(heatmap.channels[0], low=-1.0, high=1.0, scale="linear", colormap="RdBu_r")

    def outlined_px(values: float) -> int:
        regions = replace(
            heatmap, values=np.full_like(heatmap.values[:1], values), channels=(signed,)
        )
        out = tmp_path / "regions.png"
        write_picture(out, folder / "image.ome.zarr", regions, title="slide")
        with Image.open(out) as image:
            pixels = np.asarray(image.convert("L"), int)
        right = pixels[:, pixels.shape[1] // 2 :]
        return int((right < 120).sum())

    assert outlined_px(0.0) > outlined_px(np.nan) + 2000


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    figures = []
    save = Figure.savefig

    def kept(figure: Figure, *args: Any, **more: Any) -> None:
        save(figure, *args, **more)
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", kept)
    return figures


@pytest.mark.parametrize(("end", "height"), [("low", 0.02), ("high", 0.98)])
def test_the_legend_has_the_colours_of_the_map(
    made_run: Any, tmp_path: Path, saved: list[Figure], end: str, height: float
) -> None:
    folder = made_run.path / "slides" / made_run.positive
    heatmap = read_heatmap(folder / "heatmap.ome.zarr")
    channel = replace(heatmap.channels[0], colormap="viridis", scale="linear")
    values = np.full_like(heatmap.values[:1], getattr(channel, end))
    even = replace(heatmap, values=values, channels=(channel,))
    out = tmp_path / "heatmap.png"
    write_picture(out, folder / "image.ome.zarr", even, title="slide")
    with Image.open(out) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)[::-1]
    _, over, bar = (np.array(ax.get_position().extents) for ax in saved[0].axes)
    scale = np.tile((pixels.shape[1], pixels.shape[0]), 2)
    left, bottom, right, top = (over * scale).astype(int)
    of_map = pixels[bottom + 5 : top - 5, left + 5 : right - 5].mean(axis=(0, 1))
    left, bottom, right, top = bar * scale
    of_legend = pixels[int(bottom + height * (top - bottom)), int((left + right) / 2)]
    assert np.abs(of_map - of_legend).max() < 20


def test_a_long_legend_stays_within_the_figure(
    made_run: Any, tmp_path: Path, saved: list[Figure]
) -> None:
    folder = made_run.path / "slides" / made_run.positive
    heatmap = read_heatmap(folder / "heatmap.ome.zarr")
    title = "fall of the score for malignant without the region, in percentage points"
    channel = replace(heatmap.channels[0], title=title)
    long = replace(heatmap, channels=(channel,), values=heatmap.values[:1])
    write_picture(tmp_path / "heatmap.png", folder / "image.ome.zarr", long, title="slide")
    (figure,) = saved
    figure.draw_without_rendering()
    label = figure.axes[-1].yaxis.label.get_window_extent()
    assert " ".join(figure.axes[-1].get_ylabel().split()) == title
    assert label.y0 > 0
    assert label.y1 < figure.axes[1].get_window_extent().y1
    assert label.x1 < figure.bbox.x1


def test_names_are_no_formulas(made_run: Any, tmp_path: Path) -> None:
    folder = made_run.path / "slides" / made_run.positive
    heatmap = read_heatmap(folder / "heatmap.ome.zarr")
    channel = replace(heatmap.channels[0], title=r"score:$\frac{a$", high_label=r"$\frac{a$")
    priced = replace(heatmap, channels=(channel,), values=heatmap.values[:1])
    out = tmp_path / "heatmap.png"
    write_picture(out, folder / "image.ome.zarr", priced, title=r"slide $\frac{a$_^")
    assert out.exists()
