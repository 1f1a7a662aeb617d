"""A run whose slides are segmented, and a page in front of a server that fails."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import sync_playwright

from pipelines.labels import publish_labels
from pipelines.records import write_records
from pipelines.segmentation.labels import colour_of
from tests.pipelines.conftest import CHROMIUM, MPP, _record, make_slide, write_slide_folder
from wsi.slide import Pixels, Slide

WIDTH, HEIGHT, DOWNSAMPLE = 1301, 1107, 2.0
CLASSES = ("stroma", "gland", "necrosis <i>")
# Left, top, right, bottom in level-0 pixels: over the edge of a tile of labels, 1024.
GLAND, NECROSIS = (960, 500, 1050, 700), (400, 300, 460, 800)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentedRun:
    """A run's folder, and the labels (H, W) of both slides in pixels of `DOWNSAMPLE`."""

    path: Path
    labels: NDArray[np.uint8]
    alone: str = "alone"
    with_heatmap: str = "with heatmap"
    gland: tuple[int, int, int, int] = GLAND
    necrosis: tuple[int, int, int, int] = NECROSIS


@pytest.fixture(scope="session")
def segmented_run(
    tmp_path_factory: pytest.TempPathFactory, array_slide: Callable[[Pixels], Slide]
) -> SegmentedRun:
    """The same slide twice; read only."""
    out = tmp_path_factory.mktemp("segmented")
    made = make_slide(WIDTH, HEIGHT, hot=True)
    y, x = np.mgrid[0:HEIGHT:2, 0:WIDTH:2]
    labels = (np.hypot((x - WIDTH / 2) / WIDTH, (y - HEIGHT / 2) / HEIGHT) < 0.42).astype(np.uint8)
    for number, (left, top, right, bottom) in ((2, GLAND), (3, NECROSIS)):
        labels[top // 2 : bottom // 2, left // 2 : right // 2] = number
    areas = np.bincount(labels.ravel()) * (DOWNSAMPLE * MPP / 1000) ** 2
    run = SegmentedRun(path=out, labels=labels)
    for slide_id in (run.alone, run.with_heatmap):
        folder = out / "slides" / slide_id
        slide = array_slide(made.pixels)
        write_slide_folder(folder, made, slide, prediction="tumour", score=0.9)
        publish_labels(
            folder / "image.ome.zarr",
            "glands",
            da.from_array(labels),
            downsample=DOWNSAMPLE,
            level0_mpp=MPP,
            colours={n + 1: (*colour_of(n), 160) for n in range(len(CLASSES))},
            ours={},
        )
        said = {
            "name": "glands",
            "classes": [
                {
                    "name": name,
                    "label": n,
                    "area_mm2": areas[n],
                    "share_of_looked": areas[n] / areas[1:].sum(),
                }
                for n, name in enumerate(CLASSES, start=1)
            ],
            "looked_mm2": areas[1:].sum(),
            "unreadable_tissue_mm2": 0.02 if slide_id == run.alone else 0.0,
        }
        (folder / "segmentation.json").write_text(json.dumps(said))
    shutil.rmtree(out / "slides" / run.alone / "heatmap.ome.zarr")
    write_records(
        out / "slides.parquet", [_record(name, made) for name in (run.alone, run.with_heatmap)]
    )
    return run


@pytest.fixture
def fallible_page() -> Iterator[Any]:
    """A page of headless Chromium, no address yet; an error that its scripts let through fails.

    Answers that say an error do not: with `open_page` they would.
    """
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed")
    errors: list[str] = []
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM)) as browser,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    assert not errors
