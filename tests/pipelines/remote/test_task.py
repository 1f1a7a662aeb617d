"""What a process has at hand of the blocks it does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.remote.store import write_object
from pipelines.remote.task import LAID_OUT, _AtHand
from wsi.remote import file_system, slide_path


@pytest.fixture
def slides() -> Iterator[Path]:
    """Where a run in memory keeps what the blocks of two slides need."""
    url = slide_path("memory://hand/run/slides")
    for slide_id in "ab":
        write_object(url / slide_id / "grid.npy", slide_id.encode())
        write_object(url / slide_id / LAID_OUT, json.dumps(["grid.npy"]).encode())
    yield url
    file_system(url).rm("/hand", recursive=True)


def test_after_a_fetch_that_failed_what_blocks_need_is_fetched_again(
    slides: Path, tmp_path: Path
) -> None:
    at_hand, a, b = _AtHand(), tmp_path / "a", tmp_path / "b"
    assert at_hand.fetch(slides / "a", a) == {"grid.npy"}
    write_object(slides / "b" / LAID_OUT, b'["none.npy"]')
    with pytest.raises(FileNotFoundError):
        at_hand.fetch(slides / "b", b)
    assert at_hand.fetch(slides / "a", a) == {"grid.npy"}
    assert (a / "grid.npy").read_bytes() == b"a"
    write_object(slides / "b" / LAID_OUT, b'["grid.npy"]')
    assert at_hand.fetch(slides / "b", b) == {"grid.npy"}
    assert (b / "grid.npy").read_bytes() == b"b"
    assert not a.exists()
