"""Pyramids as input, from folders and a web server: the same results as from the slide itself."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

Raypath = Callable[..., Any]


@pytest.fixture(scope="module")
def slide(demo: Any) -> Path:
    """A slide that the demo's model was run on."""
    path: Path = sorted((demo.folder / "slides").glob("*.svs"))[0]
    return path


@pytest.fixture
def pyramid(demo: Any, slide: Path, tmp_path: Path) -> Path:
    """The pyramid that the demo's run made of it, in a folder like that run's."""
    copy = tmp_path / "earlier" / "slides" / slide.stem
    shutil.copytree(demo.folder / "out" / "slides" / slide.stem, copy)
    return copy / "image.ome.zarr"


def records(said: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.out.splitlines()]


def tiles(folder: Path, slide_id: str) -> tuple[Any, Any]:
    with h5py.File(folder / "slides" / slide_id / "tiles.h5") as file:
        return file["coords"][:], file["features"][:]


def test_a_runs_folder_gives_what_the_slide_gave(
    raypath: Raypath, demo: Any, slide: Path, pyramid: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    # On Ray as the demo's run, where a task has one thread: sums round otherwise with two.
    flags = ["--model", demo.model, "--workers", "1", "--json"]
    said = raypath("run", tmp_path / "earlier", "-o", out, *flags)
    (record,) = records(said)
    assert (said.code, record["verdict"], record["slide_id"]) == (0, "ok", slide.stem)
    assert record["vendor"] == "aperio"
    assert record["mpp_source"] == "vendor property"
    for got, wanted in zip(
        tiles(out, slide.stem), tiles(demo.folder / "out", slide.stem), strict=True
    ):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.slow
def test_a_url_is_run_once(
    raypath: Raypath, demo: Any, slide: Path, pyramid: Path, tmp_path: Path, web_server: Any
) -> None:
    url = f"{web_server.url}/earlier/slides/{slide.stem}/image.ome.zarr"
    command = ["run", url, "-o", tmp_path / "out", "--model", demo.model]
    command += ["--executor", "serial", "--json"]
    (first,) = records(raypath(*command))
    (second,) = records(raypath(*command))
    assert (first["verdict"], first["path"], first["reused"]) == ("ok", url, [])
    assert second["reused"] == ["tissue", "pyramid", "embed", "predict", "preview"]
    assert second["score"] == first["score"]
    chunk = next(p for p in (pyramid / "0" / "c").rglob("*") if p.is_file())
    chunk.touch()  # another version of it, as far as the server says
    (third,) = records(raypath(*command))
    assert third["reused"] == []


def test_a_run_does_not_replace_its_own_input(
    raypath: Raypath, demo: Any, pyramid: Path, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier"
    said = raypath("run", earlier, "-o", earlier, "--model", demo.model)
    assert said.code == 2
    assert "choose another folder" in said.err
    assert pyramid.is_dir()


def test_convert_and_info_take_folders_and_urls(
    raypath: Raypath, slide: Path, pyramid: Path, tmp_path: Path, web_server: Any
) -> None:
    url = f"{web_server.url}/earlier/slides/{slide.stem}/image.ome.zarr"
    for number, source in enumerate((tmp_path / "earlier", url)):
        out = tmp_path / f"out{number}"
        said = raypath("convert", source, "-o", out, "--json")
        (made,) = records(said)
        assert (said.code, made["verdict"]) == (0, "ok")
        assert (made["bytes_in"] is None) == (source == url)
        (info,) = records(raypath("info", out, "--json"))
        assert info["path"] == str(out / f"{slide.stem}.ome.zarr")
        reader = "omezarr" if source == url else "jpeg"  # whose tiles were copied
        assert (info["reader"], info["mpp"], info["problems"]) == (reader, 0.5, [])


def test_info_of_a_folder_shows_every_slide_and_what_is_wrong(
    raypath: Raypath, slide: Path, tmp_path: Path
) -> None:
    shutil.copy(slide, tmp_path / "a.svs")
    (tmp_path / "b.zarr").mkdir()
    said = raypath("info", tmp_path, "--json")
    good, bad = records(said)
    assert said.code == 1
    assert (Path(good["path"]).name, good["reader"]) == ("a.svs", "jpeg")
    assert "no OME-Zarr at" in bad["problems"][0]
    alone = raypath("info", tmp_path / "b.zarr")
    assert (alone.code, alone.out) == (2, "")
    assert "no OME-Zarr at" in alone.err
