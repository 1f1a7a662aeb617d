"""`tiles.h5` is what TRIDENT's and CLAM's readers open, and gives back what was put in."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi.quality import MEASURES
from wsi.tilestore import LeftOut, TileTable, read_left_out, read_tiles, write_tiles

ATTRIBUTES: dict[str, Any] = {
    "patch_size": 224,
    "patch_size_level0": 449,
    "level0_magnification": 40,
    "target_magnification": 20,
    "overlap": 112,
    "name": "slide ünï",
    "level0_width": 46_000,
    "level0_height": 32_914,
    "mpp": 0.5,
    "level0_mpp": 0.2495,
    "mpp_source": "vendor property",
    "stride": 112,
    "encoder": "tiny",
}


def table(count: int = 7, width: int = 12, invalid: int = 2, seed: int = 0) -> TileTable:
    rng = np.random.default_rng(seed)
    return TileTable(
        coords=rng.integers(0, 200_000, (count, 2)),
        embeddings=rng.normal(size=(count, width)).astype(np.float32),
        invalid=rng.integers(0, 200_000, (invalid, 2)),
        attributes=ATTRIBUTES,
    )


@given(
    count=st.integers(0, 40),
    width=st.integers(1, 40),
    invalid=st.integers(0, 5),
    dtype=st.sampled_from(["float16", "float32"]),
    seed=st.integers(0, 99),
)
def test_a_table_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    width: int,
    invalid: int,
    dtype: str,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("h5") / "tiles.h5"
    stored = table(count, width, invalid, seed)
    write_tiles(path, stored, dtype=dtype)
    read = read_tiles(path)
    for array, expected in (
        (read.coords, stored.coords),
        (read.invalid, stored.invalid),
        (read.embeddings, stored.embeddings.astype(dtype).astype(np.float32)),
    ):
        assert array.dtype == expected.dtype
        np.testing.assert_array_equal(array, expected)
    assert read.attributes == stored.attributes
    assert read.tile_level0_px == pytest.approx(224 * 0.5 / 0.2495)
    assert read.stride_level0_px == pytest.approx(112 * 0.5 / 0.2495)
    assert read.dimensions == (46_000, 32_914)


def test_others_find_what_they_look_for(tmp_path: Path) -> None:
    """TRIDENT: `coords` with attributes, `features` (N, D). CLAM: the same two keys."""
    path = tmp_path / "tiles.h5"
    stored = table()
    write_tiles(path, stored)
    with h5py.File(path, "r") as file:
        assert set(file) == {"coords", "features", "invalid_coords"}
        coords, features = file["coords"], file["features"]
        assert (coords.dtype, coords.shape) == (np.int64, (7, 2))
        assert (features.dtype, features.shape) == (np.float16, (7, 12))
        np.testing.assert_array_equal(coords[:], stored.coords)
        assert coords.attrs["name"] == "slide ünï"
        assert {"patch_size", "patch_size_level0", "level0_magnification", "overlap"} < set(
            coords.attrs
        )
        assert int(coords.attrs["patch_size_level0"]) == 449
        for name, dataset in file.items():
            assert dict(dataset.attrs) == ATTRIBUTES
            assert h5py.h5g.get_objinfo(file.id, name.encode()).mtime == 0  # no time is stored


def with_quality(seed: int = 0) -> TileTable:
    rng = np.random.default_rng(seed)
    measures = rng.random((10, 4)).astype(np.float32)
    measures[0, 3] = np.nan  # not judged
    left_out = LeftOut(
        coords=rng.integers(0, 200_000, (3, 2)),
        quality=measures[7:],
        reason=np.array([0, 3, 1], np.int8),
    )
    return replace(table(seed=seed), quality=measures[:7], left_out=left_out)


def test_quality_comes_back_with_the_names_of_its_measures(tmp_path: Path) -> None:
    path, stored = tmp_path / "tiles.h5", with_quality()
    write_tiles(path, stored)
    read = read_tiles(path)
    assert read.quality is not None
    assert stored.quality is not None
    np.testing.assert_array_equal(read.quality, stored.quality)
    alone, edge = read_left_out(path)
    assert edge == read.tile_level0_px
    for left_out in (read.left_out, alone):
        for name in ("coords", "quality", "reason"):
            array, expected = getattr(left_out, name), getattr(stored.left_out, name)
            assert array.dtype == expected.dtype
            np.testing.assert_array_equal(array, expected)
    with h5py.File(path) as file:
        for name in ("quality", "excluded_quality", "excluded_reason"):
            assert tuple(file[name].attrs["names"]) == MEASURES
        assert dict(file["coords"].attrs) == ATTRIBUTES


def test_tiles_left_out_change_nothing_for_the_readers_of_others(tmp_path: Path) -> None:
    """What TRIDENT and CLAM look at has the same bytes with and without quality."""
    write_tiles(tmp_path / "a", table())
    write_tiles(tmp_path / "b", with_quality())
    with h5py.File(tmp_path / "a") as plain, h5py.File(tmp_path / "b") as measured:
        for name in ("coords", "features"):
            np.testing.assert_array_equal(plain[name][:], measured[name][:])
            assert dict(plain[name].attrs) == dict(measured[name].attrs)


def test_a_table_without_quality_has_no_tile_left_out(tmp_path: Path) -> None:
    write_tiles(tmp_path / "a", table())
    assert read_tiles(tmp_path / "a").quality is None
    left_out, _ = read_left_out(tmp_path / "a")
    assert (len(left_out.coords), left_out.quality.shape) == (0, (0, 4))


def test_the_same_tiles_are_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / "one.h5", tmp_path / "other name.h5"]
    for path in paths:
        write_tiles(path, with_quality())
    assert paths[0].read_bytes() == paths[1].read_bytes()
    write_tiles(paths[1], table(seed=1))
    assert paths[0].read_bytes() != paths[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == sorted(paths)


@pytest.mark.parametrize("value", [70_000.0, -1e9, np.nan, np.inf])
def test_an_embedding_that_half_precision_cannot_hold_is_refused(
    tmp_path: Path, value: float
) -> None:
    path = tmp_path / "tiles.h5"
    bad = table()
    bad.embeddings[3, 4] = value
    with pytest.raises(ValueError, match=r"not finite as float16.*store them as float32"):
        write_tiles(path, bad)
    assert not list(tmp_path.iterdir())
    if np.isfinite(value):
        write_tiles(path, bad, dtype="float32")
        assert read_tiles(path).embeddings[3, 4] == np.float32(value)
