"""What is in a folder for people, whatever a system keeps beside it."""

from pathlib import Path

from wsi.visible import images_by_stem, visible, visible_images


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_what_begins_with_a_dot_is_left_out_at_any_depth(tmp_path: Path) -> None:
    make(tmp_path, "b.xml", "._b.xml", "deep/a.xml", "deep/._a.xml", ".snapshot/x/b.xml", "c.txt")
    names = [p.relative_to(tmp_path).as_posix() for p in visible(tmp_path, "**/*.xml")]
    assert names == ["b.xml", "deep/a.xml"]
    assert [p.name for p in visible(tmp_path)] == ["b.xml", "c.txt", "deep"]


def test_a_folder_that_lies_in_a_hidden_one_can_be_looked_into(tmp_path: Path) -> None:
    make(tmp_path, ".cache/set/1.png")
    assert [p.name for p in visible(tmp_path / ".cache" / "set")] == ["1.png"]


def test_images_are_told_by_their_suffix_in_capitals_too(tmp_path: Path) -> None:
    make(tmp_path, "a.PNG", "b.Tif", "._a.PNG", "notes.txt", "c.png.bak")
    assert [p.name for p in visible_images(tmp_path)] == ["a.PNG", "b.Tif"]


def test_images_are_found_by_their_stem(tmp_path: Path) -> None:
    make(tmp_path, "a.PNG", "deep/b.png", "c.txt")
    assert images_by_stem(tmp_path) == {"a": tmp_path / "a.PNG"}
    assert images_by_stem(tmp_path / "none") == {}
