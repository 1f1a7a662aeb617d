"""`heatmap.png`: what is drawn over the slide, and what is held back."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
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


def test_names_are_no_formulas(made_run: Any, tmp_path: Path) -> None:
    folder = made_run.path / "slides" / made_run.positive
    heatmap = read_heatmap(folder / "heatmap.ome.zarr")
    channel = replace(heatmap.channels[0], title=r"score:$\frac{a$", high_label=r"$\frac{a$")
    priced = replace(heatmap, channels=(channel,), values=heatmap.values[:1])
    out = tmp_path / "heatmap.png"
    write_picture(out, folder / "image.ome.zarr", priced, title=r"slide $\frac{a$_^")
    assert out.exists()
