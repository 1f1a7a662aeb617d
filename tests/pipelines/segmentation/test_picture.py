"""`segmentation.png`: the slide keeps its size whatever the legend holds."""

import shutil
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from PIL import Image

from pipelines.labels import publish_labels
from pipelines.segmentation.picture import write_segmentation_picture

MPP = 0.5


def test_many_classes_leave_the_slide_its_size(made_run: Any, tmp_path: Path) -> None:
    image = tmp_path / "image.ome.zarr"
    shutil.copytree(made_run.path / "slides" / made_run.positive / "image.ome.zarr", image)
    height, width = made_run.slides[made_run.positive].pixels.shape[:2]
    publish_labels(
        image,
        "nothing",
        da.zeros((height // 2, width // 2), np.uint8),
        downsample=2.0,
        level0_mpp=MPP,
        colours={},
        ours={},
    )

    def tissue_px(classes: int) -> int:
        path = tmp_path / f"{classes}.png"
        areas = {f"a class of tissue with number {n}": 0.1 for n in range(classes)}
        write_segmentation_picture(
            path,
            image,
            "nothing",
            areas,
            level0_mpp=MPP,
            dimensions=(width, height),
            title="slide",
        )
        red, green, _ = np.moveaxis(np.asarray(Image.open(path).convert("RGB"), int), -1, 0)
        return int((red > green + 40).sum())

    few, many = tissue_px(2), tissue_px(9)
    assert few > 100_000
    assert abs(many - few) < few / 20
