"""A lock at a URL: whose it is when an answer of the storage is lost, or its object is gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.locks import file
from pipelines.locks import folder as module
from pipelines.locks.folder import LockLostError, held
from pipelines.locks.holder import said_in
from pipelines.remote.store import read_object
from tests.pipelines.locks.test_folder import on_machine
from wsi.errors import UnreachableOutputError
from wsi.remote import file_system, slide_path


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A URL in memory; who is silent for a moment gives it away."""
    monkeypatch.setattr(module, "SILENT_S", 0.05)
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    url = slide_path("memory://held/run")
    yield url
    files = file_system(url)
    if files.exists("/held"):
        files.rm("/held", recursive=True)


def beat_at(out: Path) -> int:
    said = said_in(read_object(out / "lock.json"))
    assert said is not None
    return said[1]


@pytest.mark.parametrize("is_stored", [True, False])
def test_after_a_beat_whose_answer_was_lost_the_next_ones_come_through(
    out: Path, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    real = file.write_object

    def unanswered(url: Path, content: bytes) -> None:
        if is_stored:
            real(url, content)
        raise UnreachableOutputError("no answer")

    with held(out) as mine:
        mine.beat()
        with monkeypatch.context() as patch:
            patch.setattr(file, "write_object", unanswered)
            with pytest.raises(UnreachableOutputError):
                mine.beat()
        assert beat_at(out) == (2 if is_stored else 1)
        for number in (3, 4):
            mine.beat()
            assert beat_at(out) == number
            mine.check()
    assert read_object(out / "lock.json") is None


def test_what_took_its_place_is_left_alone(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_machine(monkeypatch, "there")
    with held(out) as suspended:
        on_machine(monkeypatch, "here")
        with held(out) as mine:
            theirs = read_object(out / "lock.json")
            suspended.beat()
            assert read_object(out / "lock.json") == theirs
            with pytest.raises(LockLostError, match="taken over"):
                suspended.check()
            mine.check()
        suspended.beat()
        assert read_object(out / "lock.json") is None
        with pytest.raises(LockLostError, match="is gone"):
            suspended.check()
