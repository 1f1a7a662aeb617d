"""A slide of several files is all of them; one of a single file is that file's bytes."""

from pathlib import Path

import pytest

from wsi.atomic import digest
from wsi.errors import SourceChangedError
from wsi.identity import content_digest, stored_bytes
from wsi.source import check_unchanged, look_at_source


def write_mirax(folder: Path, name: str = "a") -> tuple[Path, Path]:
    """The index of a MIRAX slide, and its pixels."""
    (folder / name).mkdir(parents=True)
    path, pixels = folder / f"{name}.mrxs", folder / name / "Data0000.dat"
    path.write_bytes(b"index")
    pixels.write_bytes(b"pixels")
    return path, pixels


def write_hamamatsu(folder: Path, suffix: str) -> tuple[Path, Path]:
    """The index of a Hamamatsu slide of several files, and its pixels."""
    path, pixels = folder / f"a{suffix}", folder / "a(1,0).jpg"
    path.write_bytes(
        b"[Virtual Microscope Specimen]\r\nNoJpegColumns=2\r\nImageFile=a.jpg\r\n"
        b"ImageFile(1,0)=a(1,0).jpg\r\nMapFile=missing.jpg\r\nMacroImage=\r\n"
    )
    for name in ("a.jpg", pixels.name, "2"):
        (folder / name).write_bytes(b"pixels")
    return path, pixels


def assert_belongs(path: Path, pixels: Path, size: int) -> None:
    """What a slide is changes with the pixels beside it, and with their size how much it is."""
    before, looked = content_digest(path), look_at_source(path)
    assert stored_bytes(path) == looked.size == size
    (path.parent / "another.svs").write_bytes(b"none of it")
    assert content_digest(path) == before
    check_unchanged(path, looked)
    pixels.write_bytes(b"PIXELS")
    assert content_digest(path) != before
    pixels.write_bytes(b"pixels")
    assert content_digest(path) == before
    pixels.write_bytes(b"more pixels")
    assert stored_bytes(path) == size + 5
    with pytest.raises(SourceChangedError):
        check_unchanged(path, looked)


def test_the_pixels_of_a_mirax_slide_belong_to_it(tmp_path: Path) -> None:
    assert_belongs(*write_mirax(tmp_path), 11)


def test_a_mirax_slide_of_another_name_and_place_is_the_same(tmp_path: Path) -> None:
    path, _ = write_mirax(tmp_path)
    renamed, pixels = write_mirax(tmp_path / "moved", "b")
    assert content_digest(renamed) == content_digest(path)
    pixels.rename(pixels.with_name("Data0001.dat"))
    assert content_digest(renamed) != content_digest(path)


@pytest.mark.parametrize("suffix", [".vms", ".VMU"])
def test_the_files_that_a_hamamatsu_slide_names_belong_to_it(tmp_path: Path, suffix: str) -> None:
    path, pixels = write_hamamatsu(tmp_path, suffix)
    assert_belongs(path, pixels, path.stat().st_size + 12)  # and not the file called "2"


def test_a_single_file_is_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.mrxs"  # whose folder is missing
    path.write_bytes(b"index")
    assert content_digest(path) == digest(path)
    assert stored_bytes(path) == 5
    assert content_digest(tmp_path) == digest(tmp_path)
    assert stored_bytes(tmp_path) == 5
    assert stored_bytes(tmp_path / "missing.mrxs") is None
    with pytest.raises(FileNotFoundError):
        content_digest(tmp_path / "missing.mrxs")
