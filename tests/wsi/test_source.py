import os
import shutil
from pathlib import Path

import pytest

from wsi.errors import SourceChangedError
from wsi.source import check_unchanged, look_at_source


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    path = tmp_path / "slide.svs"
    path.write_bytes(os.urandom(3 << 20))
    return path


def test_a_copy_is_the_same_slide(slide: Path, tmp_path: Path) -> None:
    before = look_at_source(slide)
    copy = tmp_path / "copy.svs"
    shutil.copyfile(slide, copy)
    assert look_at_source(copy).identity == before.identity
    check_unchanged(slide, before)


@pytest.mark.parametrize("place", [0, 100, (3 << 20) - 1])
def test_other_bytes_at_either_end_are_another_slide(slide: Path, place: int) -> None:
    before = look_at_source(slide)
    with slide.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    assert look_at_source(slide).identity != before.identity
    with pytest.raises(SourceChangedError, match="changed while it was read"):
        check_unchanged(slide, before)


def test_a_slide_that_grows_or_goes_has_changed(slide: Path) -> None:
    before = look_at_source(slide)
    with slide.open("ab") as file:
        file.write(b"x")
    with pytest.raises(SourceChangedError, match=f"{3 << 20} bytes then, {(3 << 20) + 1} now"):
        check_unchanged(slide, before)
    slide.unlink()
    with pytest.raises(SourceChangedError, match="is gone"):
        check_unchanged(slide, before)


def test_a_folder_is_known_by_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "x.zarr"
    (folder / "0").mkdir(parents=True)
    (folder / "0" / "c").write_bytes(b"12345")
    before = look_at_source(folder)
    assert before.size == 5
    check_unchanged(folder, before)
    (folder / "1").write_bytes(b"")
    with pytest.raises(SourceChangedError):
        check_unchanged(folder, before)


def test_the_folder_of_a_mirax_slide_belongs_to_it(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.mrxs", tmp_path / "a"
    folder.mkdir()
    path.write_bytes(b"1234")
    (folder / "Data0001.dat").write_bytes(b"12345")
    before = look_at_source(path)
    assert before.size == 9
    (tmp_path / "b.mrxs").write_bytes(b"another slide")
    check_unchanged(path, before)
    (folder / "Data0002.dat").write_bytes(b"x")
    assert look_at_source(path).identity != before.identity
    with pytest.raises(SourceChangedError):
        check_unchanged(path, before)
