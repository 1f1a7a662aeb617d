"""The cache of responses: computed once, resumed, and refused where it does not belong."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from distill import origin, responses
from distill.errors import ResponseError
from distill.origin import Origin
from distill.quantise import DISTANCE_ERROR, PROBABILITY_ERROR
from distill.responses import Responses, Shard, write_responses, write_shard
from distill.targets import nuclei_maps, reduce_maps
from wsi import scratch
from wsi.slide import Pixels

ORIGIN = Origin(teacher_sha256="5e" * 32, tile_px=16, mpp=0.5, context_px=4)
Maps = NDArray[np.float32]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "SHARD_TILES", 4)
    monkeypatch.setattr(responses, "TEACHER_BATCH", 3)


@pytest.fixture
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (10, 24, 24, 3), np.uint8)


class Colours:
    """A teacher at stride 1 or 2 that answers with the colours; counts the tiles it saw."""

    def __init__(self, stride: int = 2) -> None:
        self.stride = stride
        self.seen = 0

    def __call__(self, pixels: Pixels) -> Maps:
        self.seen += len(pixels)
        maps = pixels[:, :: self.stride, :: self.stride].transpose(0, 3, 1, 2).astype(np.float32)
        maps /= 255
        maps[:, 1:] = maps[:, 1:] * 2 - 1
        return maps


def test_what_is_read_is_what_the_teacher_said_of_the_centre(
    tmp_path: Path, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = write_responses(tmp_path / "r", ORIGIN, Colours(), pixels)
    assert (total.tiles, total.computed) == (10, 10)
    cached = Responses(tmp_path / "r", ORIGIN, ORIGIN.keys(pixels))
    assert len(cached) == 10
    index = np.array([9, 0, 4, 4])
    expected = Colours()(pixels[index])[:, :, 2:10, 2:10]
    found = cached.read(index)[:, :3]
    assert found.shape == (4, 3, 8, 8)
    monkeypatch.setattr(scratch, "IN_MEMORY", 0)  # the same from a file
    outside = Responses(tmp_path / "r", ORIGIN, ORIGIN.keys(pixels))
    np.testing.assert_array_equal(outside.read(index), cached.read(index))
    assert np.abs(found[:, 0] - expected[:, 0]).max() <= PROBABILITY_ERROR + 1e-6
    assert np.abs(found[:, 1:] - expected[:, 1:]).max() <= DISTANCE_ERROR + 1e-6


def test_a_teacher_at_stride_one_is_reduced_as_targets_are(tmp_path: Path) -> None:
    instances = np.zeros((24, 24), np.int32)
    instances[5:12, 7:13], instances[14:19, 3:10] = 1, 2
    maps = nuclei_maps(instances)
    tile = np.zeros((1, 24, 24, 3), np.uint8)
    write_responses(tmp_path / "r", ORIGIN, lambda seen: maps[None].repeat(len(seen), 0), tile)
    found = Responses(tmp_path / "r", ORIGIN, ORIGIN.keys(tile)).read(np.array([0]))
    expected = reduce_maps(maps, 2)[:, 2:10, 2:10]
    assert np.abs(found[0, :3] - expected).max() <= DISTANCE_ERROR + 1e-6
    assert found[0, 0].max() == 1


def test_nothing_is_computed_twice(tmp_path: Path, pixels: Pixels) -> None:
    write_responses(tmp_path / "r", ORIGIN, Colours(), pixels)
    again = Colours()
    total = write_responses(tmp_path / "r", ORIGIN, again, pixels)
    assert (total.tiles, total.computed, again.seen) == (10, 0, 0)


def test_only_shards_with_other_tiles_are_computed_again(tmp_path: Path, pixels: Pixels) -> None:
    write_responses(tmp_path / "r", ORIGIN, Colours(), pixels)
    changed = pixels.copy()
    changed[5, 0, 0, 0] ^= 1  # in the context alone: the teacher saw it too
    teacher = Colours()
    assert write_responses(tmp_path / "r", ORIGIN, teacher, changed).computed == 4
    assert teacher.seen == 4
    Responses(tmp_path / "r", ORIGIN, ORIGIN.keys(changed))
    with pytest.raises(ResponseError, match="lacks the responses to 1 of 10 tiles"):
        Responses(tmp_path / "r", ORIGIN, ORIGIN.keys(pixels))


@pytest.mark.parametrize("count", [4, 6, 9])
def test_more_tiles_keep_what_is_there(tmp_path: Path, pixels: Pixels, count: int) -> None:
    write_responses(tmp_path / "r", ORIGIN, Colours(), pixels[:count])
    total = write_responses(tmp_path / "r", ORIGIN, Colours(), pixels)
    assert total.computed == 10 - count // 4 * 4
    whole = Responses(tmp_path / "r", ORIGIN, ORIGIN.keys(pixels)).read(np.arange(10))
    write_responses(tmp_path / "once", ORIGIN, Colours(), pixels)
    once = Responses(tmp_path / "once", ORIGIN, ORIGIN.keys(pixels)).read(np.arange(10))
    np.testing.assert_array_equal(whole, once)


def test_work_that_broke_off_goes_on_after_the_last_whole_shard(
    tmp_path: Path, pixels: Pixels
) -> None:
    class Killed(Colours):
        def __call__(self, pixels: Pixels) -> Maps:
            if self.seen >= 6:
                raise KeyboardInterrupt
            return super().__call__(pixels)

    with pytest.raises(KeyboardInterrupt):
        write_responses(tmp_path / "r", ORIGIN, Killed(), pixels)
    with pytest.raises(ResponseError, match="lacks the responses to 6 of 10 tiles"):
        Responses(tmp_path / "r", ORIGIN, ORIGIN.keys(pixels))
    rest = Colours()
    assert write_responses(tmp_path / "r", ORIGIN, rest, pixels).computed == 6
    assert rest.seen == 6


@pytest.mark.parametrize("killed_at", ["nuclei", "keys"])
def test_a_cache_is_there_whole_or_not_at_all(
    tmp_path: Path, pixels: Pixels, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    """A group without its arrays would be refused by every later start."""
    create = zarr.Group.create_array

    def killed(group: zarr.Group, name: str, **options: Any) -> Any:
        if name == killed_at:
            raise KeyboardInterrupt
        return create(group, name, **options)

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Group, "create_array", killed)
        with pytest.raises(KeyboardInterrupt):
            write_responses(tmp_path / "r", ORIGIN, Colours(), pixels)
    assert not (tmp_path / "r").exists()
    assert write_responses(tmp_path / "r", ORIGIN, Colours(), pixels).computed == 10


def test_a_shard_is_invalid_from_its_first_byte_to_its_last(
    tmp_path: Path, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps of new tiles under the keys of old ones would be taken for theirs."""
    write_responses(tmp_path / "r", ORIGIN, Colours(), pixels)
    array = responses._array

    def fail_at_distances(group: object, name: str) -> object:
        if name == "distances":
            raise OSError("disk full")
        return array(group, name)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(responses, "_array", fail_at_distances)
        with pytest.raises(OSError, match="disk full"):
            write_shard(tmp_path / "r", ORIGIN, Colours(), pixels[::-1][:4], start=0)
    assert write_responses(tmp_path / "r", ORIGIN, Colours(), pixels).computed == 4


def test_shards_may_be_written_in_any_order(tmp_path: Path, pixels: Pixels) -> None:
    responses.create_cache(tmp_path / "r", ORIGIN, count=10)
    written = Shard()
    for part in reversed(responses.shards_of(10)):
        written += write_shard(tmp_path / "r", ORIGIN, Colours(), pixels[part], start=part.start)
    assert written.computed == 10
    Responses(tmp_path / "r", ORIGIN, ORIGIN.keys(pixels))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"teacher_sha256": "00" * 32}, "teacher_sha256 5e5e.* instead of 0000"),
        ({"tile_px": 20, "context_px": 2}, "tile_px 16 instead of 20"),
    ],
)
def test_another_teachers_responses_are_refused(
    tmp_path: Path, pixels: Pixels, change: dict[str, object], says: str
) -> None:
    write_responses(tmp_path / "r", ORIGIN, Colours(), pixels)
    other = replace(ORIGIN, **change)  # type: ignore[arg-type]
    with pytest.raises(ResponseError, match=says):
        Responses(tmp_path / "r", other, other.keys(pixels))
    with pytest.raises(ResponseError, match="choose another folder"):
        write_responses(tmp_path / "r", other, Colours(), pixels)


def test_other_preprocessing_is_refused(
    tmp_path: Path, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_responses(tmp_path / "r", ORIGIN, Colours(), pixels)
    before = ORIGIN.key(pixels[0])
    monkeypatch.setattr(origin, "PREPROCESSING", 99)
    assert ORIGIN.key(pixels[0]) != before
    with pytest.raises(ResponseError, match="preprocessing 3 instead of 99"):
        Responses(tmp_path / "r", ORIGIN, ORIGIN.keys(pixels))


def test_another_number_of_tiles_is_refused(tmp_path: Path, pixels: Pixels) -> None:
    write_responses(tmp_path / "r", ORIGIN, Colours(), pixels)
    with pytest.raises(ResponseError, match="is of 10 tiles, not of these 3"):
        Responses(tmp_path / "r", ORIGIN, ORIGIN.keys(pixels[:3]))
    with pytest.raises(ResponseError, match="no responses at"):
        Responses(tmp_path / "none", ORIGIN, ORIGIN.keys(pixels))


def test_answers_and_tiles_of_wrong_shape_are_named(tmp_path: Path, pixels: Pixels) -> None:
    with pytest.raises(ResponseError, match=r"they would be \(24, 24, 3\)"):
        write_responses(tmp_path / "r", ORIGIN, Colours(), pixels[:, :20, :20])
    with pytest.raises(ResponseError, match="maps at stride 1 or 2 are wanted"):
        write_responses(tmp_path / "r", ORIGIN, Colours(stride=4), pixels)
    with pytest.raises(ResponseError, match="multiples of 2"):
        Origin(teacher_sha256="", tile_px=15, mpp=0.5)
