"""Slides that are one file behind a URL: copied once, within a limit, never half."""

import os
import pickle
import resource
import shutil
import socketserver
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import fsspec
import numpy as np
import pytest

import wsi.fetched
from wsi.errors import (
    DiskFullError,
    OutputPermissionError,
    SlideNotFoundError,
    SourceChangedError,
    UnreachableSlideError,
    UnsupportedSlideError,
)
from wsi.fetched import FETCHING, hold_copy, scratch_folder
from wsi.identity import content_digest
from wsi.open import open_slide
from wsi.ref import SlideRef
from wsi.remote import ObjectInfo, file_system, slide_path
from wsi.source import Source, check_unchanged, look_at_source


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYPATH_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setattr(wsi.fetched, "PAUSES_S", (0.0, 0.0))
    return tmp_path / "scratch" / f"raypath-{os.getuid()}"


@pytest.fixture
def store() -> Iterator[Any]:
    """fsspec's object store in memory, emptied afterwards."""
    files = fsspec.filesystem("memory")
    yield files
    files.store.clear()


def put(store: Any, name: str, size: int) -> Path:
    store.pipe(f"/{name}", bytes(size))
    return slide_path(f"memory://{name}")


def copies(scratch: Path) -> set[str]:
    return {file.name for file in scratch.glob("*/*") if file.name != "lock"}


def test_a_slide_by_url_is_the_slide(synthetic: Any, store: Any, scratch: Path) -> None:
    store.put(str(synthetic.path), "/cohort/synthetic.svs")
    ref = SlideRef.of("memory://cohort/synthetic.svs")
    with open_slide(pickle.loads(pickle.dumps(ref))) as fetched, open_slide(synthetic.path) as own:
        assert fetched.reader == own.reader == "jpeg"
        assert fetched.properties == own.properties
        there, here = (s.read_region((300, 200), 0, (700, 500)) for s in (fetched, own))
    np.testing.assert_array_equal(there, here)
    assert copies(scratch) == {"synthetic.svs"}


def test_the_digest_is_that_of_the_version(store: Any) -> None:
    url = put(store, "a.svs", 10)
    before = content_digest(url)
    assert content_digest(url) == before
    store.pipe("/a.svs", bytes(11))
    assert content_digest(url) != before


def test_a_new_version_is_fetched_anew(store: Any) -> None:
    url = put(store, "a.svs", 10)
    old = hold_copy(url)
    store.pipe("/a.svs", b"newer and longer")
    new = hold_copy(url)
    assert old.path.read_bytes() == bytes(10)
    assert new.path.read_bytes() == b"newer and longer"
    old.release()
    new.release()


def test_room_is_made_of_what_nobody_holds_the_longest_unused_first(
    store: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYPATH_SCRATCH_GB", "350e-9")
    first, second, third, fourth, fifth = (put(store, f"{n}.svs", 100) for n in range(5))
    held = hold_copy(first)
    for url in (second, third):
        hold_copy(url).release()
    for folder in scratch.glob("*/*.svs"):  # second was used last, whatever the clock's steps
        os.utime(folder.parent, ns=(0, {"0": 1, "1": 3, "2": 2}[folder.stem] * 10**9))
    also_held = hold_copy(fourth)
    assert copies(scratch) == {"0.svs", "1.svs", "3.svs"}
    still_held = hold_copy(fifth)
    assert copies(scratch) == {"0.svs", "3.svs", "4.svs"}
    with pytest.raises(DiskFullError, match=r"RAYPATH_SCRATCH_GB to more"):
        hold_copy(second)
    for copy in (held, also_held, still_held):
        assert copy.path.stat().st_size == 100
        copy.release()
    hold_copy(second).release()


def test_a_slide_larger_than_the_limit_is_refused_and_leaves_nothing(
    store: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYPATH_SCRATCH_GB", "1e-6")
    with pytest.raises(DiskFullError, match="larger disk"):
        hold_copy(put(store, "large.svs", 1001))
    assert copies(scratch) == set()


def test_what_others_have_in_the_given_folder_is_not_ours_to_remove(
    store: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder that a user gives may be a whole disk."""
    results = scratch.parent / "my_results"
    results.mkdir(parents=True)
    (results / "lock").touch()
    (results / "heatmap.png").write_bytes(bytes(1000))
    monkeypatch.setenv("RAYPATH_SCRATCH_GB", "500e-9")
    hold_copy(put(store, "a.svs", 400)).release()
    hold_copy(put(store, "b.svs", 400)).release()
    assert copies(scratch) == {"b.svs"}
    assert {file.name for file in results.iterdir()} == {"lock", "heatmap.png"}


def test_the_folder_of_the_copies_is_private_and_so_made_where_it_is_not(scratch: Path) -> None:
    assert scratch_folder() == scratch
    assert scratch.stat().st_mode & 0o777 == 0o700
    scratch.chmod(0o777)
    scratch_folder()
    assert scratch.stat().st_mode & 0o777 == 0o700
    assert scratch.parent.stat().st_mode & 0o777 != 0o700, "what others have there is theirs"


@pytest.mark.parametrize("kind", ["folder", "link", "loose link", "file"])
def test_a_folder_of_the_copies_that_another_made_is_not_trusted(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    if kind == "folder":
        another = os.getuid() + 1  # to whom ours is another's
        monkeypatch.setattr(os, "getuid", lambda: another)
    folder = tmp_path / "scratch" / f"raypath-{os.getuid()}"
    folder.parent.mkdir()
    mine = tmp_path / "mine"
    if kind in ("folder", "link"):
        (folder if kind == "folder" else mine).mkdir(mode=0o777)
    if kind == "file":
        folder.touch()
    elif kind != "folder":
        folder.symlink_to(mine)
    url = put(store, "a.svs", 1000)
    with pytest.raises(OutputPermissionError, match=f"{folder} .*RAYPATH_SCRATCH"):
        hold_copy(url)
    assert not list(mine.glob("*"))


def test_a_copy_has_its_room_before_the_first_byte_arrives(
    store: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(store, "a.svs", 1 << 20)
    blocks = []

    def first_byte(path: Path) -> Any:
        (file,) = scratch.glob(f"*/{FETCHING}")
        blocks.append(file.stat().st_blocks)  # of 512 bytes; a hole has none
        return file_system(path)

    monkeypatch.setattr(wsi.fetched, "file_system", first_byte)
    hold_copy(url).release()
    assert blocks[0] * 512 >= 1 << 20


def test_a_disk_that_is_full_meanwhile_is_no_fault_of_the_storage(
    store: Any, scratch: Path
) -> None:
    url = put(store, "a.svs", 6000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(DiskFullError, match="set RAYPATH_SCRATCH to a larger disk"):
            hold_copy(url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert copies(scratch) == set()


def test_a_folder_that_its_process_removes_meanwhile_is_no_missing_slide(
    store: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes on with the room that others make, whatever moment they make it at."""
    monkeypatch.setenv("RAYPATH_SCRATCH_GB", "150e-9")
    hold_copy(put(store, "a.svs", 100)).release()
    (left,) = scratch.glob("*/a.svs")
    size_of = wsi.fetched._bytes_in

    def last_look(folder: Path) -> int:
        size = size_of(folder)
        shutil.rmtree(folder)
        return size

    monkeypatch.setattr(wsi.fetched, "_bytes_in", last_look)
    hold_copy(put(store, "b.svs", 100)).release()
    assert not left.exists()
    assert copies(scratch) == {"b.svs"}


def test_a_slide_that_changes_meanwhile_is_no_copy(
    store: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put(store, "a.svs", 10)
    said = iter([ObjectInfo(size=10, version="1"), ObjectInfo(size=10, version="2")])
    monkeypatch.setattr(wsi.fetched, "object_info", lambda _: next(said))
    with pytest.raises(SourceChangedError, match="changed while it was fetched"):
        hold_copy(url)
    assert copies(scratch) == set()


def test_what_a_killed_process_left_is_not_taken_for_the_slide(store: Any, scratch: Path) -> None:
    url = put(store, "a.svs", 10)
    copy = hold_copy(url)
    copy.release()
    copy.path.rename(copy.path.with_name(FETCHING)).write_bytes(b"half")
    again = hold_copy(url)
    assert again.path.read_bytes() == bytes(10)
    assert copies(scratch) == {"a.svs"}
    again.release()


def test_what_is_not_there_is_said(store: Any) -> None:
    with pytest.raises(SlideNotFoundError, match=r"memory://none\.svs"):
        open_slide("memory://none.svs")


@pytest.mark.parametrize("name", ["slide.mrxs", "slide.dcm", "slide.vms"])
def test_formats_of_several_files_are_refused_without_asking(web_server: Any, name: str) -> None:
    with pytest.raises(UnsupportedSlideError, match="may have several files"):
        open_slide(f"{web_server.url}/{name}")
    assert web_server.asked == []


def test_a_busy_server_is_asked_again_a_forbidding_one_gives_up(
    web_server: Any, tmp_path: Path
) -> None:
    (tmp_path / "a.svs").write_bytes(b"0123")
    web_server.failing["/a.svs"] = [503, 503]
    copy = hold_copy(slide_path(f"{web_server.url}/a.svs"))
    assert copy.path.read_bytes() == b"0123"
    copy.release()
    for status, asked in ((503, 6), (403, 2)):  # each attempt is a HEAD and a GET
        web_server.failing["/a.svs"] = [status] * 20
        web_server.asked.clear()
        with pytest.raises(UnreachableSlideError, match=str(status)):
            hold_copy(slide_path(f"{web_server.url}/a.svs"))
        assert len(web_server.asked) == asked


@pytest.fixture(params=["refuses", "breaks off"])
def deaf(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that gives no answer at all."""
    server = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)
    address = f"127.0.0.1:{server.server_address[1]}"
    if request.param == "refuses":
        server.server_close()
        yield address
        return
    with server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield address
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_does_not_answer_does_not_say_that_the_slide_is_gone(
    deaf: str, scheme: str
) -> None:
    url = slide_path(f"{scheme}://{deaf}/a.svs")
    for ask in (hold_copy, look_at_source):
        with pytest.raises(UnreachableSlideError):
            ask(url)
    with pytest.raises(UnreachableSlideError):
        check_unchanged(url, Source(size=0, ends="", modified=0))


def test_processes_share_one_copy(web_server: Any, tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "a.svs").write_bytes(bytes(1000))
    program = (
        "import sys; from wsi.fetched import hold_copy; from wsi.remote import slide_path;"
        "print(hold_copy(slide_path(sys.argv[1])).path.stat().st_size)"
    )
    command = [sys.executable, "-c", program, f"{web_server.url}/a.svs"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=120)[0] for process in running] == ["1000\n"] * 3
    assert sum(line == "GET /a.svs" for line in web_server.asked) == 1
    assert copies(scratch) == {"a.svs"}
