"""The tissue label of a converted slide is the mask the manifest names, where it names one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from PIL import Image

from pipelines.conversion.driver import convert_slide
from wsi.ref import SlideRef
from wsi.synthetic.aperio import write_svs


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide on which detection finds nothing."""
    return write_svs(
        tmp_path_factory.mktemp("slides") / "blank.svs",
        width=2048,
        height=1024,
        mpp=0.5,
        magnification=20,
        read_block=lambda x, y, w, h: np.full((h, w, 3), 240, np.uint8),
    )


def tissue_label(path: Path) -> np.ndarray[Any, Any]:
    label: Any = zarr.open_group(path, mode="r")["labels/tissue/0"]
    return np.asarray(label[:])


def test_a_mask_from_the_manifest_replaces_detection(blank: Path, tmp_path: Path) -> None:
    given = np.zeros((64, 128), np.uint8)
    given[10:20, 30:60] = 255
    Image.fromarray(given).save(tmp_path / "mask.png")
    detected = convert_slide(SlideRef.of(blank), tmp_path / "detected.ome.zarr")
    assert detected.flags == ("blank",)
    assert not tissue_label(tmp_path / "detected.ome.zarr").any()
    ref = SlideRef(path=blank, slide_id="blank", mask=tmp_path / "mask.png")
    record = convert_slide(ref, tmp_path / "given.ome.zarr")
    assert (record.verdict, record.flags) == ("ok", ())
    np.testing.assert_array_equal(tissue_label(tmp_path / "given.ome.zarr"), given > 0)


def test_another_mask_is_another_pyramid(blank: Path, tmp_path: Path) -> None:
    mask, path = tmp_path / "mask.png", tmp_path / "slide.ome.zarr"
    Image.fromarray(np.full((64, 128), 255, np.uint8)).save(mask)
    ref = SlideRef(path=blank, slide_id="blank", mask=mask)
    assert convert_slide(ref, path).verdict == "ok"
    assert convert_slide(ref, path, resume=True).reused
    Image.fromarray(np.eye(64, 128, dtype=np.uint8)).save(mask)
    refused = convert_slide(ref, path, resume=True)
    assert (refused.verdict, refused.reason) == ("failed", "usage")
    assert "--overwrite" in refused.message


def test_a_mask_of_another_slide_fails_and_leaves_nothing(blank: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((128, 64), 255, np.uint8)).save(tmp_path / "mask.png")
    ref = SlideRef(path=blank, slide_id="blank", mask=tmp_path / "mask.png")
    record = convert_slide(ref, tmp_path / "out" / "slide.ome.zarr")
    assert (record.verdict, record.reason) == ("failed", "mask")
    assert "64x128" in record.message
    assert not list((tmp_path / "out").iterdir())


def test_a_mask_that_is_not_there_is_named(blank: Path, tmp_path: Path) -> None:
    ref = SlideRef(path=blank, slide_id="blank", mask=tmp_path / "gone.png")
    record = convert_slide(ref, tmp_path / "blank.ome.zarr")
    assert (record.verdict, record.reason) == ("failed", "mask")
    assert f"tissue mask {tmp_path / 'gone.png'}: " in record.message
    assert not list(tmp_path.iterdir())
