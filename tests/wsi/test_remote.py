"""Slides behind URLs: from a real web server on loopback and from memory, with what goes wrong."""

import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import zarr
from fsspec.registry import _registry
from zarr.storage import LocalStore

import wsi.store
from pipelines.conversion.driver import convert_slide
from wsi.errors import (
    SlideNotFoundError,
    UnreachableSlideError,
    UnreadableRegionError,
    UnsupportedSlideError,
)
from wsi.identity import content_digest, stored_bytes
from wsi.open import open_slide
from wsi.ref import SlideRef
from wsi.remote import is_remote, slide_path


@pytest.fixture(scope="module")
def pyramid(locating_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pyramid") / "p.ome.zarr"
    convert_slide(SlideRef.of(locating_slide), path)
    return path


@pytest.fixture
def served(pyramid: Path, tmp_path: Path, web_server: Any) -> str:
    """The pyramid's URL; its files are in `tmp_path`, to be damaged."""
    shutil.copytree(pyramid, tmp_path / "a b" / "p.ome.zarr")
    return f"{web_server.url}/a b/p.ome.zarr"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wsi.store, "PAUSES_S", (0.0, 0.0))


@pytest.mark.parametrize(
    ("text", "slide_id"),
    [
        ("https://host/x/slide.ome.zarr", "slide"),
        ("https://host/x/slide.ome.zarr/", "slide"),
        ("s3://bucket/slide.zarr", "slide"),
        ("gs://bucket/a/b.ome.zarr", "b"),
        ("memory://a/b.zarr", "b"),
    ],
)
def test_a_url_names_a_slide_and_travels(text: str, slide_id: str) -> None:
    ref = SlideRef.of(text)
    assert ref.slide_id == slide_id
    assert is_remote(ref.path)
    assert str(ref.path) == text.rstrip("/")
    assert pickle.loads(pickle.dumps(ref)) == ref


def test_local_paths_stay_local() -> None:
    assert slide_path("file:///a%20b/c.svs") == Path("/a b/c.svs")
    assert slide_path("file://localhost/a.svs") == Path("/a.svs")
    for path in (slide_path("a/b.svs"), slide_path(Path("/a/b.svs"))):
        assert not is_remote(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ftp://host/a.zarr", "s3://, gs://, http://, https://, memory:// and file://"),
        ("ftp://me:secret@host/a.zarr?secret", "^ftp://host/a.zarr: slides are read from"),
        ("https://me:secret@host/a.zarr", "holds a password"),
        ("https://secret@host/a.zarr", "holds a password or a token"),
        ("s3://me:secret@bucket/a.zarr", "holds a password"),
        ("file://slides/a.svs", "^file://slides/a.svs: .*from its root on"),
        ("a\0.svs", r"'a\\x00.svs': no path holds the character NUL"),
        ("https://host/a.svs?X-Amz-Signature=secret", "^https://host/a.svs: .*holds a query"),
        ("HTTP://host/a.zarr/?secret", "download it first, or give the s3:// URL"),
        ("https://host/a.zarr#secret", "holds a query"),
        ("https://host/a.svs?", "holds a query"),
    ],
)
def test_urls_that_are_not_read(text: str, why: str) -> None:
    with pytest.raises(UnsupportedSlideError, match=why) as caught:
        slide_path(text)
    assert "secret" not in str(caught.value)


def test_a_scheme_in_capitals_is_the_same() -> None:
    assert str(slide_path("HTTPS://host/A.svs")) == "https://host/A.svs"
    assert str(slide_path("Memory://a.zarr/")) == "memory://a.zarr"


def test_a_question_mark_may_be_part_of_an_objects_name() -> None:
    assert str(slide_path("s3://bucket/which?.zarr")) == "s3://bucket/which?.zarr"
    assert slide_path("which?.svs") == Path("which?.svs")


def test_a_url_with_a_query_is_refused_before_anything_is_asked_for(web_server: Any) -> None:
    for make in (open_slide, SlideRef.of):
        with pytest.raises(UnsupportedSlideError, match="holds a query"):
            make(f"{web_server.url}/a.svs?X-Amz-Signature=secret")
    assert not web_server.asked


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_missing_package_is_named(
    scheme: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(_registry, scheme, raising=False)  # loaded before
    with pytest.raises(UnsupportedSlideError, match=f"pip install {package}"):
        open_slide(f"{scheme}://bucket/a.zarr")


def test_a_pyramid_is_read_from_a_web_server_without_listing(
    served: str, pyramid: Path, web_server: Any
) -> None:
    with open_slide(served) as slide, open_slide(pyramid) as local:
        assert slide.reader == "omezarr"
        assert slide.properties == local.properties
        assert slide.level_dimensions == local.level_dimensions
        for level in range(len(local.level_dimensions)):
            for location, size in [((0, 0), (300, 200)), ((1000, 700), (64, 64))]:
                np.testing.assert_array_equal(
                    slide.read_region(location, level, size),
                    local.read_region(location, level, size),
                )
    assert not [line for line in web_server.asked if line.endswith("/")]


CHUNK = "/a%20b/p.ome.zarr/0/c/0/0/0"


def test_an_error_of_the_server_is_unreadable_and_the_slide_stays_usable(
    served: str, pyramid: Path, web_server: Any
) -> None:
    with open_slide(served) as slide, open_slide(pyramid) as local:
        web_server.failing[CHUNK] = [500] * 20
        for _ in range(2):
            with pytest.raises(UnreadableRegionError, match=r"p\.ome\.zarr: level 0") as caught:
                slide.read_region((0, 0), 0, (9, 9))
            assert isinstance(caught.value.__cause__, UnreachableSlideError)
        assert slide.read_region((0, 0), 1, (9, 9)).shape == (9, 9, 3)
        web_server.failing.clear()
        np.testing.assert_array_equal(
            slide.read_region((0, 0), 0, (9, 9)), local.read_region((0, 0), 0, (9, 9))
        )


def test_a_missing_object_is_a_missing_chunk(served: str, tmp_path: Path) -> None:
    (tmp_path / "a b" / "p.ome.zarr" / "0" / "c" / "0" / "0" / "0").unlink()
    with open_slide(served) as slide:
        assert (slide.read_region((0, 0), 0, (9, 9)) == 255).all()  # the array's fill value


def test_a_server_that_is_busy_for_a_moment_is_asked_again(
    served: str, pyramid: Path, web_server: Any
) -> None:
    web_server.failing[CHUNK] = [503, 503]
    with open_slide(served) as slide, open_slide(pyramid) as local:
        np.testing.assert_array_equal(
            slide.read_region((0, 0), 0, (9, 9)), local.read_region((0, 0), 0, (9, 9))
        )
    assert web_server.failing == {CHUNK: []}


def test_access_denied_is_not_asked_again(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def deny(self: Any, path: str, **_: Any) -> bytes:
        asked.append(path)
        raise PermissionError("not yours")

    with open_slide(served) as slide:
        monkeypatch.setattr("fsspec.implementations.http.HTTPFileSystem._cat_file", deny)
        with pytest.raises(UnreadableRegionError, match="not yours"):
            slide.read_region((0, 0), 0, (9, 9))
    assert len(asked) == 1


def test_what_was_fetched_is_kept_up_to_a_limit(
    served: str, web_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_slide(served) as slide:
        there = slide.read_region((0, 0), 0, (9, 9))
        before = len(web_server.asked)
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (9, 9)), there)
        assert len(web_server.asked) == before
        monkeypatch.setattr(wsi.store, "KEPT_BYTES", 0)
        slide.read_region((1000, 1000), 0, (9, 9))
        before = len(web_server.asked)
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (9, 9)), there)
        assert len(web_server.asked) > before


def test_shards_need_a_server_with_ranges(served: str, web_server: Any) -> None:
    web_server.answers_ranges = False
    with pytest.raises(UnsupportedSlideError, match="does not answer range requests"):
        open_slide(served)


def test_nothing_at_a_url(web_server: Any) -> None:
    with pytest.raises(SlideNotFoundError, match=r"no OME-Zarr at http://127.*missing\.zarr"):
        open_slide(f"{web_server.url}/missing.zarr")
    web_server.failing["/denied.zarr/zarr.json"] = [500] * 3
    with pytest.raises(UnreachableSlideError, match="500"):
        open_slide(f"{web_server.url}/denied.zarr")
    with pytest.raises(UnreachableSlideError, match="127"):
        open_slide("http://127.0.0.1:1/a.zarr")


@pytest.fixture
def in_memory(pyramid: Path) -> str:
    memory = fsspec.filesystem("memory")
    memory.put(str(pyramid), "/bucket/m.ome.zarr", recursive=True)
    return "memory://bucket/m.ome.zarr"


def test_a_pyramid_is_read_from_an_object_store(in_memory: str, pyramid: Path) -> None:
    with open_slide(SlideRef.of(in_memory)) as slide, open_slide(pyramid) as local:
        np.testing.assert_array_equal(
            slide.read_region((500, 400), 0, (700, 600)),
            local.read_region((500, 400), 0, (700, 600)),
        )


def test_the_token_of_a_listed_store_follows_its_objects(in_memory: str) -> None:
    path = slide_path(in_memory)
    memory = fsspec.filesystem("memory")
    before = content_digest(path)
    assert content_digest(path) == before
    chunk = memory.cat("/bucket/m.ome.zarr/0/c/0/0/0")
    memory.pipe("/bucket/m.ome.zarr/0/c/0/0/0", chunk + b"-")
    after = content_digest(path)
    assert after != before
    memory.pipe("/bucket/m.ome.zarr/more", b"")
    assert content_digest(path) not in (before, after)
    assert stored_bytes(path) is None


def change_chunk(folder: Path) -> None:
    (folder / "0" / "c" / "0" / "0" / "0").write_bytes(b"changed")


def remove_chunk(folder: Path) -> None:
    (folder / "1" / "c" / "0" / "0" / "0").unlink()


def change_metadata(folder: Path) -> None:
    zarr.open_group(LocalStore(folder)).attrs["raypath"] = {"level0_mpp": 0.25}


@pytest.mark.parametrize("change", [change_chunk, remove_chunk, change_metadata])
def test_the_token_of_a_web_slide_follows_its_objects(
    served: str, tmp_path: Path, change: Any
) -> None:
    before = content_digest(slide_path(served))
    assert content_digest(slide_path(served)) == before
    change(tmp_path / "a b" / "p.ome.zarr")
    assert content_digest(slide_path(served)) != before


def test_a_web_slide_of_many_chunks_is_asked_for_some(
    tmp_path: Path, web_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsi.identity.MOST_ASKED", 10)
    group = zarr.create_group(tmp_path / "m.zarr", zarr_format=2)
    data = np.zeros((3, 64, 64), np.uint8)
    group.create_array("0", data=data, chunks=(1, 8, 8), fill_value=1)
    axes = [{"name": axis} for axis in "cyx"]
    scale = [{"type": "scale", "scale": [1, 1, 1]}]
    dataset = {"path": "0", "coordinateTransformations": scale}
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [dataset]}]
    content_digest(slide_path(f"{web_server.url}/m.zarr"))
    asked = [line for line in web_server.asked if line.startswith("HEAD /m.zarr/0/")]
    assert len(asked) == 10
    assert {"HEAD /m.zarr/0/0.0.0", "HEAD /m.zarr/0/2.7.7"} <= set(asked)


def test_a_web_slide_that_is_gone_has_no_token(web_server: Any) -> None:
    with pytest.raises(SlideNotFoundError):
        content_digest(slide_path(f"{web_server.url}/missing.zarr"))


def test_local_slides_are_known_by_their_bytes(pyramid: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.ome.zarr"
    shutil.copytree(pyramid, copy)
    assert content_digest(copy) == content_digest(pyramid)
    files = [p for p in copy.rglob("*") if p.is_file()]
    assert stored_bytes(copy) == sum(p.stat().st_size for p in files)
    assert stored_bytes(files[0]) == files[0].stat().st_size
    change_chunk(copy)
    assert content_digest(copy) != content_digest(pyramid)
