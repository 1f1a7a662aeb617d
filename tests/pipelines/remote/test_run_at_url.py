"""Runs whose OUT is s3://, at a server on loopback: the results of a run on a disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wsi.testing import Specimen, write_slide

Raypath = Callable[..., Any]
URL = "s3://cohort/the run"


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides whose names mean something to shells, URLs and patterns, and a broken one."""
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in ((1, "a #1? [x]*"), (2, "é ø")):
        write_slide(folder / f"{name}.svs", Specimen(seed=seed, width=1100, height=900))
    (folder / "broken.svs").write_bytes(b"II*\0 and no more")
    return folder


def below(folder: Path) -> dict[str, bytes]:
    """Every file of the slides, by name."""
    root = folder / "slides"
    return {f.relative_to(root).as_posix(): f.read_bytes() for f in root.rglob("*") if f.is_file()}


def stored(bucket: Any, url: str = URL) -> dict[str, bytes]:
    """Every object of the slides, by name."""
    root = f"{url.removeprefix('s3://')}/slides"
    bucket.invalidate_cache()
    return {name.removeprefix(f"{root}/"): bucket.cat_file(name) for name in bucket.find(root)}


def test_a_run_stores_what_it_writes_to_a_disk(
    raypath: Raypath, demo: Any, slides: Path, bucket: Any, tmp_path: Path
) -> None:
    flags = ("--model", demo.model, "--executor", "serial", "--json")
    near = raypath("run", slides, "-o", tmp_path / "near", *flags)
    far = raypath("run", slides, "-o", URL, *flags, cwd=tmp_path)
    assert (near.code, far.code) == (1, 1), far.err
    wanted, got = below(tmp_path / "near"), stored(bucket)
    assert got.keys() == wanted.keys()
    assert [name for name, content in wanted.items() if got[name] != content] == []
