"""Several models over the same tiles: read once, and each with what it would have had alone."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cluster.executor import Executor
from cluster.ray_executor import RayExecutor
from cluster.serial import SerialExecutor
from distill.errors import ModelError
from pipelines.cohort.manifest import Entry
from pipelines.embedding import tiles as embedding_tiles
from pipelines.embedding.work import BLOCK_TILES
from pipelines.errors import ConfigError, FeaturesError
from pipelines.mil.features import find_features, open_features
from pipelines.model import save_untrained
from pipelines.records import SlideRecord, read_records
from pipelines.run import run_cohort
from pipelines.settings.config import RunConfig, load_config
from pipelines.verify.problem import Problem
from pipelines.verify.run import verify_run
from wsi.atomic import digest
from wsi.plan import TileSpec
from wsi.ref import SlideRef
from wsi.testing import Specimen, write_slide
from wsi.tilestore import read_tiles

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = TileSpec(size_px=32, mpp=0.5)
NETWORKS = {
    "first": "mobilenetv3_small_050",
    "small": "test_convnext",
    "wide": "mobilenetv3_small_075",
}


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slide")
    return write_slide(folder / "s.svs", Specimen(seed=7, width=1250, height=1200, pen=True))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    for name, architecture in NETWORKS.items():
        save_untrained(root / name, architecture, SPEC)
    return {name: root / name for name in NETWORKS}


@pytest.fixture(scope="module")
def alone(
    slide: Path, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The digest of each model's `tiles.h5` in a run of its own."""
    digests = {}
    for name, folder in models.items():
        out = tmp_path_factory.mktemp(f"alone-{name}")
        run(slide, out, SerialExecutor(), model=folder)
        digests[name] = digest(out / "slides" / "s" / "tiles.h5")
    return digests


def run(slide: Path, out: Path, executor: Executor, **settings: Any) -> SlideRecord:
    entry = Entry(ref=SlideRef(path=slide, slide_id="s"))
    counts = run_cohort([entry], out, RunConfig(**settings), executor)
    (record,) = read_records(out / "slides.parquet")
    assert counts["ok"] == 1, record
    return record


def digests(out: Path) -> dict[str, str]:
    folder = out / "slides" / "s"
    files = {"first": "tiles.h5", "small": "tiles.small.h5", "wide": "tiles.wide.h5"}
    return {name: digest(folder / file) for name, file in files.items()}


def dealt_with(out: Path) -> tuple[Any, ...]:
    """Corners of the tiles that were embedded, that do not decode, and that were left out."""
    table = read_tiles(out / "slides" / "s" / "tiles.h5")
    return table.coords, table.invalid, table.left_out.coords


def problems(out: Path) -> list[Problem]:
    return [problem for of in verify_run(out, SerialExecutor()) for problem in of.problems]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tiles were read, by batch."""
    counts: list[int] = []
    real: Callable[..., Iterable[Any]] = embedding_tiles.read_batches

    def counting(slide: Any, grid: Any, **rest: Any) -> Iterator[Any]:
        for batch in real(slide, grid, **rest):
            counts.append(len(batch.coords) + len(batch.invalid))
            yield batch

    monkeypatch.setattr(embedding_tiles, "read_batches", counting)
    return counts


def test_each_has_what_it_has_alone_and_tiles_are_read_once(
    slide: Path, models: dict[str, Path], alone: dict[str, str], read: list[int], tmp_path: Path
) -> None:
    others = (models["small"], models["wide"])
    record = run(slide, tmp_path, SerialExecutor(), model=models["first"], also=others)
    assert digests(tmp_path) == alone
    assert sum(read) == sum(map(len, dealt_with(tmp_path)))
    table = read_tiles(tmp_path / "slides" / "s" / "tiles.small.h5")
    assert str(table.attributes["encoder"]).startswith("test_convnext")
    assert record.seconds.keys() >= {"embed", "embed:small", "embed:wide"}
    said = json.loads((tmp_path / "run.json").read_text())["also"]
    assert said["wide"]["sha256"] == digest(models["wide"])


def test_cut_into_blocks_on_ray_the_bytes_are_the_same(
    slide: Path, models: dict[str, Path], alone: dict[str, str], tmp_path: Path
) -> None:
    others = (models["small"], models["wide"])
    with RayExecutor(workers=2) as executor:
        run(slide, tmp_path, executor, model=models["first"], also=others)
    assert sum(map(len, dealt_with(tmp_path))) > BLOCK_TILES
    assert digests(tmp_path) == alone


def test_a_model_that_is_added_later_leaves_the_others_as_they_are(
    slide: Path, models: dict[str, Path], alone: dict[str, str], read: list[int], tmp_path: Path
) -> None:
    run(slide, tmp_path, SerialExecutor(), model=models["first"], also=(models["small"],))
    once = sum(read)
    others = (models["wide"], models["small"])
    record = run(slide, tmp_path, SerialExecutor(), model=models["first"], also=others)
    assert {"embed", "embed:small"} <= set(record.reused)
    assert "embed:wide" not in record.reused
    assert sum(read) == 2 * once
    assert digests(tmp_path) == alone
    again = run(slide, tmp_path, SerialExecutor(), model=models["first"], also=others)
    assert again.is_reused
    assert sum(read) == 2 * once


def test_another_choice_of_tiles_embeds_only_new_ones_by_all(
    slide: Path, models: dict[str, Path], alone: dict[str, str], read: list[int], tmp_path: Path
) -> None:
    given = {"model": models["first"], "also": (models["small"], models["wide"])}
    run(slide, tmp_path, SerialExecutor(), **given, min_tissue_fraction=0.9)
    few = sum(read)
    record = run(slide, tmp_path, SerialExecutor(), **given)
    assert record.n_reused_tiles == few
    tables = [read_tiles(tmp_path / "slides" / "s" / f"tiles{n}.h5") for n in ("", ".small")]
    np.testing.assert_array_equal(tables[0].coords, tables[1].coords)
    assert sum(read) == sum(map(len, dealt_with(tmp_path)))
    fresh = tmp_path / "fresh"
    run(slide, fresh, SerialExecutor(), **given)
    # Tiles seen together with others round otherwise in the last bits.
    for table, name in zip(tables, ("tiles.h5", "tiles.small.h5"), strict=True):
        expected = read_tiles(fresh / "slides" / "s" / name)
        np.testing.assert_array_equal(table.coords, expected.coords)
        np.testing.assert_allclose(table.embeddings, expected.embeddings, atol=2e-2)


def test_the_files_of_a_further_model_are_found_and_verified(
    slide: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    run(slide, tmp_path, SerialExecutor(), model=models["first"], also=(models["small"],))
    path = tmp_path / "slides" / "s" / "tiles.small.h5"
    assert find_features(tmp_path, tiles_of="small") == {"s": path}
    assert open_features(path).encoder.startswith("test_convnext")
    with pytest.raises(FeaturesError, match=r"no slides/<slide>/tiles\.wide\.h5.*run --also"):
        find_features(tmp_path, tiles_of="wide")
    assert not problems(tmp_path)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\0" * 4096)
    assert {problem.file for problem in problems(tmp_path)} == {"tiles.small.h5"}


def test_a_model_of_other_tiles_is_refused_before_any_work(
    slide: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    save_untrained(tmp_path / "far", "test_convnext", TileSpec(size_px=32, mpp=2.0))
    with pytest.raises(ModelError, match=r"32 px at 2 µm.*32 px at 0.5 µm.*folder of its own"):
        run(slide, out, SerialExecutor(), model=models["first"], also=(tmp_path / "far",))
    assert not (out / "slides" / "s").exists()


def test_names_are_those_of_folders_and_differ(models: dict[str, Path], tmp_path: Path) -> None:
    twin, odd = tmp_path / "small", tmp_path / "a b"
    shutil.copytree(models["small"], twin)
    shutil.copytree(models["small"], odd)
    first = models["first"]
    with pytest.raises(ConfigError, match="two folders are called 'small'"):
        load_config(None, {"model": first, "also": [models["small"], twin]})
    with pytest.raises(ConfigError, match=r"'a b' becomes part of a file's"):
        load_config(None, {"model": first, "also": [odd]})
    with pytest.raises(ConfigError, match="'also' embeds the tiles of a first model"):
        load_config(None, {"teacher": first, "also": [twin]})
    (tmp_path / "run.toml").write_text(f"model = '{first}'\nalso = ['small']\n")
    config = load_config(tmp_path / "run.toml", {})
    assert config.models == {"": first, "small": tmp_path / "small"}
