"""Which files and folders below a given folder are slides."""

from pathlib import Path

import pytest

from pipelines.cohort.manifest import read_cohort, read_manifest
from pipelines.errors import UsageError
from tests.pipelines.cohort.test_manifest import ids, write
from wsi.ref import SlideRef


def test_links_to_folders_are_followed_each_folder_once(tmp_path: Path) -> None:
    batch, cohort = tmp_path / "batch", tmp_path / "cohort"
    batch.mkdir()
    cohort.mkdir()
    (batch / "a.svs").touch()
    (cohort / "b.svs").touch()
    (cohort / "linked").symlink_to(batch)
    (cohort / "again").symlink_to(batch)
    (batch / "up").symlink_to(cohort)
    assert [entry.ref.slide_id for entry in read_cohort([cohort])] == ["a", "b"]


def test_what_macs_and_file_servers_leave_beside_slides_is_no_slide(tmp_path: Path) -> None:
    for name in ("in/a.svs", "in/._a.svs", "in/.snapshot/hourly/a.svs", "in/.Trashes/b.svs"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert ids(read_cohort([tmp_path / "in"])) == ["a"]


def test_zarr_folders_are_slides_and_not_looked_into(tmp_path: Path) -> None:
    for name in (
        "b.ome.zarr/labels/tissue.zarr/zarr.json",
        "deep/a.zarr/0/level.svs",
        "deep/plain/zarr.json",
        "deep/plain/x.svs",
        ".tmp-12-c.ome.zarr/zarr.json",
        ".partial-c.ome.zarr/plan.json",
        ".partial-c.ome.zarr/image/zarr.json",
        "d.svs",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert ids(read_cohort([tmp_path])) == ["b", "d", "a", "plain"]
    (entry,) = read_cohort([tmp_path / "b.ome.zarr"])
    assert entry.ref == SlideRef(path=tmp_path / "b.ome.zarr", slide_id="b")


def test_the_folder_of_a_run_holds_the_slides_it_read(tmp_path: Path) -> None:
    for name in ("s1/image", "s1/heatmap", "s 2/image"):
        (tmp_path / "slides" / f"{name}.ome.zarr").mkdir(parents=True)
    entries = read_cohort([tmp_path])
    assert ids(entries) == ["s 2", "s1"]
    assert {entry.ref.path.name for entry in entries} == {"image.ome.zarr"}
    manifest = write(tmp_path, "path\nslides/s1/image.ome.zarr\nhttp://h/s3/image.ome.zarr\n")
    assert ids(read_manifest(manifest)) == ["s1", "s3"]


def test_a_folder_without_slides_says_what_it_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no slides below .*\.svs"):
        read_cohort([tmp_path])
