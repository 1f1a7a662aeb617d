"""`heatmap.png`: what is drawn over the slide, and what is held back."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipelines.heatmap import read_heatmap
from pipelines.picture import write_picture

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
