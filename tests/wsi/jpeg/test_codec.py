"""The Zarr codec: its specification, and reading without us."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import TransposeCodec

from wsi.jpeg.codec import JpegCodec

FULL = ((1, 1), (1, 1), (1, 1))


def write(path: Path, codec: JpegCodec, shape: tuple[int, int, int] = (3, 96, 128)) -> np.ndarray:
    y, x = np.mgrid[0 : shape[1], 0 : shape[2]]
    pixels = np.stack([x, y, (x + y) // 2]).astype(np.uint8)
    array = zarr.create_array(
        path,
        data=pixels,
        chunks=(3, 32, 64),
        shards=(3, 96, 128),
        filters=[TransposeCodec(order=(1, 2, 0))],
        serializer=codec,
        compressors=None,
    )
    assert array.shape == shape
    return pixels


@pytest.mark.parametrize(
    "codec",
    [
        JpegCodec(quality=95),
        JpegCodec(quality=95, subsampling=FULL),
        JpegCodec(quality=95, encoded_color_space="rgb", subsampling=FULL),
    ],
)
def test_what_is_written_is_read_back_but_for_the_loss(tmp_path: Path, codec: JpegCodec) -> None:
    pixels = write(tmp_path / "a.zarr", codec)
    found = np.asarray(zarr.open_array(tmp_path / "a.zarr")[:])
    assert np.abs(found.astype(int) - pixels).max() <= 12
    assert JpegCodec.from_dict(codec.to_dict()) == codec


def test_a_program_that_knows_only_zarr_reads_it(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", JpegCodec(quality=95))
    code = f"import zarr; print(int(zarr.open_array({str(tmp_path / 'a.zarr')!r})[0, 0, 100]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert abs(int(done.stdout) - 100) <= 12


def test_the_metadata_is_the_specifications(tmp_path: Path) -> None:
    write(tmp_path / "a.zarr", JpegCodec(quality=90))
    metadata = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
    inner = metadata["codecs"][0]["configuration"]["codecs"]
    assert inner == [
        {"name": "transpose", "configuration": {"order": [1, 2, 0]}},
        {
            "name": "jpeg",
            "configuration": {
                "quality": 90,
                "encoded_color_space": "ycbcr",
                "subsampling": [[2, 2], [1, 1], [1, 1]],
            },
        },
    ]


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        ({"quality": 90}, "encoded_color_space is required"),
        ({"quality": 101, "encoded_color_space": "ycbcr"}, "0-100"),
        ({"quality": 90, "encoded_color_space": "xyb"}, "unknown color space"),
        (
            {"quality": 90, "encoded_color_space": "rgb", "subsampling": [[2, 2], [1, 1], [1, 1]]},
            "not known for rgb",
        ),
        (
            {"quality": 90, "encoded_color_space": "ycbcr", "subsampling": [[4, 4], [1, 1]]},
            "not known",
        ),
    ],
)
def test_a_contradictory_configuration_is_refused(configuration: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JpegCodec.from_dict({"name": "jpeg", "configuration": configuration})


def test_other_than_three_channels_of_uint8_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="uint8"):
        zarr.create_array(
            tmp_path / "a.zarr",
            shape=(64, 64, 4),
            dtype="uint8",
            serializer=JpegCodec(quality=90),
            compressors=None,
        )
