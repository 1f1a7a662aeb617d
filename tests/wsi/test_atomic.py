"""Whatever happens while something is written, what has its name is whole."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wsi.atomic import TMP_MARK, digest, replacing, sweep


def write_file(path: Path, text: str) -> None:
    path.write_text(text)


def write_folder(path: Path, text: str) -> None:
    (path / "deep").mkdir(parents=True)
    (path / "deep" / text).write_text(text)
    (path / "top").write_text(text)


Writer = Callable[[Path, str], None]
kinds = pytest.mark.parametrize("write", [write_file, write_folder])


def interrupted(target: Path, write: Writer, text: str) -> None:
    with replacing(target) as tmp:
        write(tmp, text)
        raise KeyboardInterrupt


@kinds
def test_it_appears_whole_and_replaces_what_was_there(tmp_path: Path, write: Writer) -> None:
    target = tmp_path / "new" / "folder" / "thing.out"
    for text in ("first", "second"):
        with replacing(target) as tmp:
            write(tmp, text)
            assert tmp.parent == target.parent
            assert not target.exists() or text == "second"
        expected = tmp_path / text
        write(expected, text)
        assert digest(target) == digest(expected)
        assert list(target.parent.iterdir()) == [target]


@kinds
def test_an_error_leaves_things_as_they_were(tmp_path: Path, write: Writer) -> None:
    target = tmp_path / "thing"
    with pytest.raises(KeyboardInterrupt):
        interrupted(target, write, "never")
    assert not list(tmp_path.iterdir())
    write(target, "old")
    before = digest(target)
    with pytest.raises(KeyboardInterrupt):
        interrupted(target, write, "never")
    assert digest(target) == before
    assert list(tmp_path.iterdir()) == [target]


@kinds
def test_writing_nothing_is_an_error_that_loses_nothing(tmp_path: Path, write: Writer) -> None:
    target = tmp_path / "thing"
    write(target, "old")
    before = digest(target)
    with pytest.raises(FileNotFoundError), replacing(target):
        pass
    assert digest(target) == before
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_may_become_a_file(tmp_path: Path) -> None:
    target = tmp_path / "thing"
    write_folder(target, "old")
    with replacing(target) as tmp:
        tmp.write_text("new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@kinds
def test_sweeping_removes_what_a_killed_process_left(tmp_path: Path, write: Writer) -> None:
    write(tmp_path / "kept", "kept")
    script = (
        "import os, sys; from pathlib import Path; from wsi.atomic import replacing\n"
        "with replacing(Path(sys.argv[1])) as tmp:\n"
        "    tmp.mkdir() if sys.argv[2] == 'write_folder' else tmp.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "kept"), write.__name__]
    ended = subprocess.run(arguments, check=False, cwd=Path(__file__).parents[2])
    assert ended.returncode == -9
    left = {path.name for path in tmp_path.iterdir()} - {"kept"}
    assert len(left) == 1
    assert left.pop().startswith(TMP_MARK)
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_sweeping_looks_at_one_folder_and_its_own_leavings(tmp_path: Path) -> None:
    for name in ("kept", ".hidden", f"x{TMP_MARK}", "sub"):
        (tmp_path / name).mkdir()
    (tmp_path / "sub" / f"{TMP_MARK}other").write_text("another process's")
    (tmp_path / f"{TMP_MARK}mine").write_text("half")
    sweep(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"kept", ".hidden", f"x{TMP_MARK}", "sub"}
    assert len(list((tmp_path / "sub").iterdir())) == 1


def test_the_digest_of_a_file_is_its_sha256_whatever_its_name(tmp_path: Path) -> None:
    content = os.urandom(1000) * 300
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(content)
        assert digest(tmp_path / name) == hashlib.sha256(content).hexdigest()


def test_the_digest_of_a_folder_changes_with_content_and_names(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, str]) -> str:
        for file, text in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        return digest(tmp_path / name)

    first = folder("first", {"a": "1", "b": "2", "sub/c": "3"})
    assert folder("again", {"sub/c": "3", "b": "2", "a": "1"}) == first
    others = [
        folder("content", {"a": "1", "b": "2", "sub/c": "4"}),
        folder("name", {"a": "1", "bb": "2", "sub/c": "3"}),
        folder("moved", {"a": "1", "b": "2", "c": "3"}),
        folder("swapped", {"a": "2", "b": "1", "sub/c": "3"}),
        folder("fewer", {"a": "1", "b": "2"}),
    ]
    assert len({first, *others}) == 6
