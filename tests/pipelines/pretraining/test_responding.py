"""Responses by an executor: whichever does it, the same bytes, and nothing twice."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cluster.executor import Executor
from cluster.ray_executor import RayExecutor
from cluster.serial import SerialExecutor
from cluster.threads import ThreadExecutor
from distill import responses
from distill.card import TrainingCard
from distill.errors import ResponseError
from distill.origin import Origin
from distill.responses import Responses
from distill.teachers.card import read_teacher_card
from distill.teachers.postprocess import Thresholds
from distill.teachers.teacher import build_net, save_teacher
from pipelines.pretraining.places import Place, take_tiles
from pipelines.pretraining.responding import ResponseTask, origin_of, respond, respond_shard
from pipelines.pretraining.tiles import TileRequest, find_tiles, read_places
from wsi.atomic import digest
from wsi.plan import TileSpec
from wsi.testing import nuclei_crops


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "SHARD_TILES", 4)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    save_teacher(
        build_net("resnet10t"),
        folder,
        architecture="resnet10t",
        mpp=0.5,
        thresholds=Thresholds(),
        training=TrainingCard(data="none", data_licence="CC0", method="not trained"),
    )
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> list[Place]:
    """Sixteen tiles: twelve of two images and four in an array, so that a shard has both."""
    folder = tmp_path_factory.mktemp("tiles")
    pixels, _ = nuclei_crops(count=6, size_px=96, seed=0)
    (folder / "images").mkdir()
    for name in "ab":
        Image.fromarray(np.concatenate(pixels[:2])).save(folder / "images" / f"{name}.png")
    np.savez(folder / "more.npz", pixels=pixels[2:, :32, :32])
    request = TileRequest(spec=TileSpec(size_px=64, mpp=0.5), context_px=16)
    sources = [str(folder / "images"), str(folder / "more.npz")]
    found = find_tiles(sources, [0.5, 0.5], request)
    assert sum(len(place) for place in found) == 16
    return found


@pytest.fixture(scope="module")
def serially(
    places: list[Place], teacher: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Origin]:
    folder = tmp_path_factory.mktemp("serial") / "r"
    origin = origin_of(places, read_teacher_card(teacher))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(responses, "SHARD_TILES", 4)
        cost = respond(places, origin, teacher, folder, SerialExecutor())
    assert cost["responses_computed"] == 16
    return folder, origin


@pytest.fixture(params=["threads", pytest.param("ray", marks=pytest.mark.slow)])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "threads":
        yield ThreadExecutor(workers=2)
        return
    with RayExecutor(workers=2) as started:
        yield started


def test_any_executor_writes_the_same_bytes(
    executor: Executor,
    places: list[Place],
    teacher: Path,
    serially: tuple[Path, Origin],
    tmp_path: Path,
) -> None:
    expected, origin = serially
    reported: list[int] = []
    cost = respond(
        places,
        origin,
        teacher,
        tmp_path / "r",
        executor,
        report=lambda done: reported.append(done.tiles),
    )
    assert cost["responses_computed"] == reported[-1] == 16
    assert digest(tmp_path / "r") == digest(expected)


def test_they_are_the_responses_to_the_tiles_that_training_reads(
    places: list[Place], teacher: Path, serially: tuple[Path, Origin]
) -> None:
    folder, origin = serially
    seen = read_places(places).seen
    found = Responses(folder, origin, origin.keys(seen)).read(np.arange(16))
    assert found.shape == (16, 8, 32, 32)
    task = ResponseTask(
        places=tuple(take_tiles(places, slice(4, 8))),
        start=4,
        teacher=teacher,
        folder=folder,
        origin=origin,
        device="cpu",
    )
    assert respond_shard(task).computed == 0  # what is there is not computed again


def test_work_that_broke_off_goes_on(
    places: list[Place],
    teacher: Path,
    serially: tuple[Path, Origin],
    tmp_path: Path,
) -> None:
    expected, origin = serially

    class KilledError(Exception):
        pass

    def kill(done: responses.Shard) -> None:
        if done.tiles == 8:
            raise KilledError

    with pytest.raises(KilledError):
        respond(places, origin, teacher, tmp_path / "r", SerialExecutor(), report=kill)
    cost = respond(places, origin, teacher, tmp_path / "r", SerialExecutor())
    assert cost["responses_computed"] == 8
    assert digest(tmp_path / "r") == digest(expected)


def test_a_task_holds_no_pixels(places: list[Place], teacher: Path, tmp_path: Path) -> None:
    origin = origin_of(places, read_teacher_card(teacher))
    task = ResponseTask(
        places=tuple(places),
        start=0,
        teacher=teacher,
        folder=tmp_path,
        origin=origin,
        device="cpu",
    )
    assert len(pickle.dumps(task)) < 5000 < read_places(places).seen.nbytes


def test_a_task_that_fails_is_named_with_its_reason(
    places: list[Place], teacher: Path, tmp_path: Path
) -> None:
    origin = replace(origin_of(places, read_teacher_card(teacher)), teacher_sha256="00" * 32)
    with pytest.raises(ResponseError, match=r"from tile 0 on: .* holds teacher .* not 000000"):
        respond(places, origin, teacher, tmp_path / "r", SerialExecutor())
