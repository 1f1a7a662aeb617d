"""Going on with a run at s3:// asks for what there is; it fetches no slide that is as it was."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from cluster.serial import SerialExecutor
from pipelines.output import output_path
from pipelines.records import SlideRecord
from pipelines.remote import store, task, workplace
from pipelines.verify.run import verify_run
from tests.pipelines.remote import runs
from tests.pipelines.remote.runs import FIRST, KEY, SECOND, URL, on_disk, stored
from wsi.testing import Specimen, write_slide

ROOT = f"/{KEY}"


@dataclass(slots=True)
class Asked:
    """What the server was asked for: method and path, and the bytes of each answer."""

    answers: list[tuple[str, str, int]] = field(default_factory=list)

    def of(self, method: str, below: str) -> dict[str, int]:
        """Bytes by name of the objects below a folder that were asked for by `method`."""
        return {
            path.removeprefix(f"{ROOT}/"): size
            for asked, path, size in self.answers
            if asked == method and path.startswith(f"{ROOT}/{below}")
        }

    @property
    def lists(self) -> int:
        """Listings of a bucket."""
        return sum(method == "LIST" for method, _, _ in self.answers)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Count what goes through the server of the fixture `bucket`."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication

    said = Asked()
    real = DomainDispatcherApplication.__call__

    def call(self: Any, environ: dict[str, Any], start: Callable[..., Any]) -> Iterator[bytes]:
        answer: Iterable[bytes] = real(self, environ, start)
        parts = list(answer)
        method = environ["REQUEST_METHOD"]
        query = environ.get("QUERY_STRING", "")
        if (
            "list-type" in query and "max-keys=1" not in query
        ):  # s3fs asks for one key: is it there?
            method = "LIST"
        path = unquote(environ["PATH_INFO"].encode("latin-1").decode())
        said.answers.append((method, path, sum(map(len, parts))))
        return iter(parts)

    monkeypatch.setattr(DomainDispatcherApplication, "__call__", call)
    return said


def run(slides: Path, out: Path, model: Path, **settings: Any) -> dict[str, SlideRecord]:
    """Run on a machine that has nothing yet."""
    workplace._workplace.cache_clear()
    return runs.run(slides, out, model, **settings)


def test_nothing_is_fetched_of_a_slide_that_is_as_it_was(
    slides: Path, model: Path, bucket: Any, asked: Asked, tmp_path: Path
) -> None:
    out = output_path(URL)
    run(slides, out, model)
    wanted = stored(bucket)
    asked.answers.clear()
    again = run(slides, out, model, workers=3, limits={"minutes": 7})  # settings of no result
    fetched = asked.of("GET", "slides/")
    assert fetched
    assert all("/preview/" in name for name in fetched)  # for the report
    assert asked.of("PUT", "slides/") == asked.of("DELETE", "slides/") == {}
    notes = asked.of("GET", "finished/")
    assert notes.keys() == {f"finished/{name}.json" for name in (FIRST, SECOND)}
    assert sum(notes.values()) < 20_000
    # Each slide; all of them at once to know which were begun, and each for the report.
    assert asked.lists == 3 + 1 + 3
    assert not any(name.endswith("receipt.json") for name in asked.of("HEAD", "slides/"))
    asked.answers.clear()
    assert stored(bucket) == wanted
    near = tmp_path / "near"
    run(slides, near, model)
    on_disk = run(slides, near, model)
    for slide_id, record in again.items():
        other = on_disk[slide_id]
        assert record.seconds.keys() == other.seconds.keys()
        assert (record.peak_rss_bytes is None) == (other.peak_rss_bytes is None)
        unlike = {"seconds": {}, "peak_rss_bytes": None, "peak_is_bound": None}
        assert replace(record, **unlike) == replace(other, **unlike)
    asked.answers.clear()
    assert all(not found.problems for found in verify_run(out, SerialExecutor()))
    read = asked.of("GET", "slides/")
    assert {
        f"slides/{name}": len(content) for name, content in wanted.items()
    }.items() <= read.items()


@pytest.mark.parametrize("name", ["tiles.h5", "receipt.json", "tissue.geojson"])
def test_an_object_of_the_same_size_and_other_bytes_is_seen(
    slides: Path, model: Path, bucket: Any, name: str
) -> None:
    out = output_path(URL)
    run(slides, out, model)
    wanted = stored(bucket)
    key = f"{FIRST}/{name}"
    content = bytearray(wanted[key])
    content[-3] ^= 1
    bucket.pipe_file(f"{KEY}/slides/{key}", bytes(content))
    again = run(slides, out, model)
    assert len(again[SECOND].reused) == 4
    assert len(again[FIRST].reused) < 4
    now = stored(bucket)
    if name == "tissue.geojson":  # taken for a person's: the next run is of it
        assert now[key] == bytes(content)
    else:
        assert now == wanted


def test_another_wish_is_done(
    slides: Path, model: Path, bucket: Any, asked: Asked, tmp_path: Path
) -> None:
    out = output_path(URL)
    run(slides, out, model)
    asked.answers.clear()
    other = run(slides, out, model, stride_px=32)
    assert set(other[FIRST].reused) == {"tissue", "pyramid"}
    assert f"slides/{FIRST}/receipt.json" in asked.of("GET", "slides/")
    run(slides, tmp_path / "near", model, stride_px=32)
    assert stored(bucket) == on_disk(tmp_path / "near")


def test_a_damaged_note_costs_a_look_and_no_more(
    slides: Path, model: Path, bucket: Any, asked: Asked
) -> None:
    out = output_path(URL)
    run(slides, out, model)
    wanted = stored(bucket)
    note = f"{KEY}/finished/{FIRST}.json"
    good = bucket.cat_file(note)
    said = json.loads(good)
    of_another = said | {"record": said["record"] | {"slide_id": "../x"}}
    for damaged in (b"no JSON", b"{}", b"[]", json.dumps(of_another).encode()):
        bucket.pipe_file(note, damaged)
        asked.answers.clear()
        assert len(run(slides, out, model)[FIRST].reused) == 4
        assert f"slides/{FIRST}/tiles.h5" in asked.of("GET", "slides/")
        assert f"slides/{SECOND}/tiles.h5" not in asked.of("GET", "slides/")
        assert bucket.cat_file(note) != damaged
    assert stored(bucket) == wanted
    assert len(bucket.cat_file(note)) == pytest.approx(len(good), rel=0.1)


def test_another_slide_or_model_of_the_same_name_is_seen(
    slides: Path, model: Path, bucket: Any, tmp_path: Path
) -> None:
    out, mine, network = output_path(URL), tmp_path / "mine", tmp_path / "model"
    shutil.copytree(slides, mine)
    shutil.copytree(model, network)
    run(mine, out, network)
    write_slide(mine / f"{SECOND}.svs", Specimen(seed=9, width=1100, height=900))
    again = run(mine, out, network)
    assert (len(again[FIRST].reused), again[SECOND].reused) == (4, ())
    card = network / "model.toml"
    card.write_text(card.read_text().replace("mpp = 1.0", "mpp = 1.1"))
    assert set(run(mine, out, network)[FIRST].reused) == {"tissue", "pyramid"}
    run(mine, tmp_path / "near", network)
    assert stored(bucket) == on_disk(tmp_path / "near")


def test_nothing_is_noted_of_a_model_that_is_replaced_meanwhile(
    slides: Path, model: Path, bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tmp_path / "model"
    shutil.copytree(model, network)
    real = task.note_finished

    def replaced(*job: Any, **said: Any) -> None:
        with (network / "model.toml").open("a") as card:
            card.write("\n# another\n")
        real(*job, **said)

    monkeypatch.setattr(task, "note_finished", replaced)
    found = run(slides, output_path(URL), network)
    assert found[FIRST].verdict == found[SECOND].verdict == "ok"
    assert bucket.find(f"{KEY}/finished") == []


def test_of_a_storage_without_versions_everything_is_read(
    slides: Path, model: Path, bucket: Any, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "object_version", lambda said: "")
    out = output_path(URL)
    run(slides, out, model)
    asked.answers.clear()
    assert len(run(slides, out, model)[FIRST].reused) == 4
    assert f"slides/{FIRST}/tiles.h5" in asked.of("GET", "slides/")
