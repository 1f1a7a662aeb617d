"""`raypath teacher predict`, from a slide's file to what QuPath, napari and pandas open."""

import json
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from ome_zarr_models import v05
from PIL import Image
from shapely.geometry import Point, Polygon, shape
from skimage.measure import regionprops
from starlette.testclient import TestClient
from typer.testing import CliRunner

from cluster.serial import SerialExecutor
from cluster.threads import ThreadExecutor
from distill.card import TrainingCard
from distill.teachers.postprocess import Thresholds
from distill.teachers.teacher import Teacher, build_net, save_teacher
from pipelines.cli.main import cli
from pipelines.cohort.manifest import Entry
from pipelines.heatmaps.looked import LOOKED, NAMES, NO_TILE
from pipelines.heatmaps.ome_zarr import read_heatmap
from pipelines.model import save_untrained
from pipelines.nuclei import work
from pipelines.nuclei.table import mask_of
from pipelines.records import SlideRecord, read_records
from pipelines.run import run_cohort
from pipelines.settings.config import RunConfig
from pipelines.viewer import server
from tests.pipelines.nuclei.blobs import MPP, Blobs, draw_blobs
from wsi.atomic import digest
from wsi.plan import TileSpec
from wsi.ref import SlideRef
from wsi.synthetic.aperio import write_svs

WIDTH, HEIGHT = 900, 700


@pytest.fixture(scope="module")
def blobs() -> Blobs:
    return draw_blobs(WIDTH, HEIGHT, seed=3)


def write(path: Path, blobs: Blobs, mpp: float = MPP) -> Path:
    return write_svs(
        path,
        width=blobs.pixels.shape[1],
        height=blobs.pixels.shape[0],
        mpp=mpp,
        magnification=round(10 / mpp),
        read_block=lambda x, y, w, h: blobs.pixels[y : y + h, x : x + w],
        quality=95,
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher's folder; what it holds is never asked, see `by_hand`."""
    folder = tmp_path_factory.mktemp("teacher")
    save_teacher(
        build_net("mobilenetv3_small_050"),
        folder,
        architecture="mobilenetv3_small_050",
        mpp=MPP,
        thresholds=Thresholds(),
        training=TrainingCard(data="none", data_licence="CC0", method="not trained"),
    )
    return folder


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch, blob_teacher: Teacher) -> None:
    """Have blocks looked at by the teacher made by hand."""
    work.teacher_of.cache_clear()
    monkeypatch.setattr(work, "load_teacher", lambda path, device: blob_teacher)


def predict(slide: Path, weights: Path, out: Path, *more: str) -> SlideRecord:
    """Run the command in this process, every pixel being tissue; returns the slide's record."""
    mask = out.parent / "all.png"
    Image.new("L", (90, 70), 255).save(mask)
    manifest = out.parent / "manifest.csv"
    manifest.write_text(f"path,mask\n{slide},{mask}\n")
    words = ["teacher", "predict", str(manifest), "--weights", str(weights), "-o", str(out)]
    result = CliRunner().invoke(cli, [*words, "--executor", "serial", *more])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    (record,) = read_records(out / "slides.parquet")
    return record


@pytest.fixture
def predicted(
    blobs: Blobs, weights: Path, tmp_path: Path, by_hand: None
) -> tuple[Path, SlideRecord]:
    slide = write(tmp_path / "s.svs", blobs)
    record = predict(slide, weights, tmp_path / "out")
    return tmp_path / "out" / "slides" / "s", record


def test_all_that_is_written_agrees(predicted: tuple[Path, SlideRecord], blobs: Blobs) -> None:
    folder, record = predicted
    rows = pq.read_table(folder / "nuclei.parquet").to_pylist()
    assert (record.verdict, record.n_nuclei) == ("ok", len(rows))
    assert len(rows) > 0.9 * len(blobs.centres)
    assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
    labels = np.asarray(zarr.open_array(folder / "image.ome.zarr/labels/nuclei/0", mode="r")[...])
    assert labels.shape == (HEIGHT, WIDTH)
    regions = {region.label: region for region in regionprops(labels)}
    features = json.loads((folder / "nuclei.geojson").read_text())["features"]
    assert len(regions) == len(features) == len(rows)
    for row, feature in zip(rows, features, strict=True):
        region = regions[row["id"]]
        np.testing.assert_array_equal(region.image, mask_of(row))
        assert (region.centroid[1] + 0.5, region.centroid[0] + 0.5) == pytest.approx(
            (row["x"], row["y"])
        )
        assert row["area_um2"] == pytest.approx(region.area * MPP**2, rel=1e-5)
        assert row["major_axis_um"] == pytest.approx(region.axis_major_length * MPP, rel=1e-5)
        assert row["eccentricity"] == pytest.approx(region.eccentricity, abs=1e-5)
        outline = shape(feature["geometry"])
        assert outline.is_valid
        assert outline.area == pytest.approx(region.area, rel=0.1)
        assert outline.centroid.distance(Point(row["x"], row["y"])) < 1
        assert uuid.UUID(feature["id"])
        assert feature["properties"]["objectType"] == "detection"
        assert feature["properties"]["measurements"]["Area µm^2"] == pytest.approx(
            row["area_um2"], abs=1e-3
        )
    assert len({feature["id"] for feature in features}) == len(features)
    # Blue blobs: more haematoxylin than the pink around them, and dark.
    assert min(row["mean_od"] for row in rows) > 1
    assert min(row["haematoxylin_od"] for row in rows) > 0.5


def test_the_labels_are_a_valid_label_image_of_the_pyramid(
    predicted: tuple[Path, SlideRecord],
) -> None:
    folder, _ = predicted
    image = v05.Image.from_zarr(zarr.open_group(folder / "image.ome.zarr", mode="r"))
    assert image.labels is not None
    assert sorted(image.labels.label_paths) == ["nuclei", "tissue"]
    label = v05.ImageLabel.from_zarr(
        zarr.open_group(folder / "image.ome.zarr/labels/nuclei", mode="r")
    )
    datasets = label.attributes.ome.multiscales[0].datasets
    assert len(datasets) == len(image.attributes.ome.multiscales[0].datasets)
    assert datasets[0].coordinateTransformations[0].scale == pytest.approx([MPP, MPP])


def test_the_density_counts_the_nuclei_of_each_tile(predicted: tuple[Path, SlideRecord]) -> None:
    folder, record = predicted
    heatmap = read_heatmap(folder / "heatmap.ome.zarr")
    (channel,) = heatmap.channels
    assert (channel.name, channel.unit) == ("nuclei_density", "nuclei/mm²")
    assert heatmap.cell_level0_px == 512
    table = pq.read_table(folder / "nuclei.parquet", columns=["x", "y"]).to_pandas()
    counted, _, _ = np.histogram2d(table.y, table.x, bins=[[0, 512, HEIGHT], [0, 512, WIDTH]])
    areas = np.outer([512, HEIGHT - 512], [512, WIDTH - 512]) * (MPP / 1000) ** 2
    np.testing.assert_allclose(heatmap.values[0], counted / areas, rtol=0.01)
    assert record.nuclei_per_mm2 == pytest.approx(counted.sum() / areas.sum(), rel=0.01)


@pytest.mark.usefixtures("by_hand")
def test_glass_has_no_tile_and_is_not_unreadable(
    blobs: Blobs, weights: Path, tmp_path: Path
) -> None:
    slide = write(tmp_path / "s.svs", blobs)
    mask = np.zeros((70, 90), np.uint8)
    mask[:, :40] = 255
    Image.fromarray(mask).save(tmp_path / "left.png")
    (tmp_path / "slides.csv").write_text(f"path,mask\n{slide},left.png\n")
    words = ["run", tmp_path / "slides.csv", "-o", tmp_path / "out", "--teacher", weights]
    words += ["--executor", "serial", "--min-tissue-fraction", "0"]
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    looked = read_heatmap(tmp_path / "out" / "slides" / "s" / "heatmap.ome.zarr").looked
    assert set(np.unique(looked).tolist()) == {NO_TILE, LOOKED}


def test_the_same_again_is_not_done_again_and_gives_the_same_bytes(
    predicted: tuple[Path, SlideRecord], blobs: Blobs, weights: Path, tmp_path: Path
) -> None:
    folder, record = predicted
    first = digest(folder)
    again = predict(tmp_path / "s.svs", weights, tmp_path / "out")
    assert again.reused == (
        "tissue",
        "pyramid",
        "nuclei",
        "nuclei_geojson",
        "nuclei_labels",
        "density",
        "preview",
    )
    assert digest(folder) == first
    assert again.n_nuclei == record.n_nuclei
    (tmp_path / "b").mkdir()
    predict(tmp_path / "s.svs", weights, tmp_path / "b" / "out")
    for name in ("nuclei.parquet", "nuclei.geojson", "image.ome.zarr", "heatmap.ome.zarr"):
        assert digest(tmp_path / "b" / "out" / "slides" / "s" / name) == digest(folder / name)


def test_at_another_resolution_nothing_is_taken_from_before(
    predicted: tuple[Path, SlideRecord], weights: Path, tmp_path: Path
) -> None:
    """The teacher looks at 0.25 µm per pixel each time: nothing else tells the runs apart."""
    for mpp in (MPP, MPP / 2):
        record = predict(tmp_path / "s.svs", weights, tmp_path / "out", "--mpp", str(mpp))
        assert "nuclei" not in record.reused


@pytest.mark.parametrize(("change", "carried"), [("codec", True), ("tissue", False)])
def test_a_run_without_the_teacher_keeps_its_labels_unless_the_tissue_is_another(
    predicted: tuple[Path, SlideRecord], tmp_path: Path, change: str, carried: bool
) -> None:
    folder, _ = predicted
    labels = folder / "image.ome.zarr" / "labels" / "nuclei"
    before = digest(labels)
    if change == "tissue":
        Image.fromarray(np.tri(70, 90, dtype=np.uint8)).save(tmp_path / "all.png")
    save_untrained(tmp_path / "model", "resnet10t", TileSpec(size_px=64, mpp=0.5))
    words = [
        "run",
        tmp_path / "manifest.csv",
        "-o",
        tmp_path / "out",
        "--model",
        tmp_path / "model",
    ]
    words += ["--executor", "serial", "--codec", "zstd" if change == "codec" else "auto"]
    for again in (False, True):
        result = CliRunner().invoke(cli, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        (record,) = read_records(tmp_path / "out" / "slides.parquet")
        assert ("pyramid" in record.reused) == again
        ome: Any = zarr.open_group(labels.parent, mode="r").attrs["ome"]
        assert ("nuclei" in ome["labels"]) == labels.exists() == carried
        assert (folder / "nuclei.parquet").exists() == carried
    assert not carried or digest(labels) == before


def test_lost_labels_are_painted_again_without_looking_again(
    predicted: tuple[Path, SlideRecord], weights: Path, tmp_path: Path
) -> None:
    folder, _ = predicted
    labels = folder / "image.ome.zarr" / "labels" / "nuclei"
    before = digest(labels)
    (labels / "0" / "zarr.json").unlink()
    again = predict(tmp_path / "s.svs", weights, tmp_path / "out")
    assert "nuclei" in again.reused
    assert "nuclei_labels" not in again.reused
    assert digest(labels) == before


def test_a_killed_search_goes_on_with_the_blocks_that_are_left(
    blobs: Blobs, weights: Path, tmp_path: Path, by_hand: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.steps.nuclei.CORE_PX", 320)
    slide = write(tmp_path / "s.svs", blobs)
    real, asked = work.find_nuclei, []

    def killed_at_the_third(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments[2])
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(work, "find_nuclei", killed_at_the_third)
    with pytest.raises((KeyboardInterrupt, FileNotFoundError)):
        predict(slide, weights, tmp_path / "out")
    assert len(asked) == 3
    record = predict(slide, weights, tmp_path / "out")
    assert len(asked) == 10  # nine blocks, the third of them twice
    (tmp_path / "b").mkdir()
    undisturbed = predict(slide, weights, tmp_path / "b" / "out")
    assert record.n_nuclei == undisturbed.n_nuclei
    folder, other = tmp_path / "out" / "slides" / "s", tmp_path / "b" / "out" / "slides" / "s"
    assert digest(folder / "nuclei.parquet") == digest(other / "nuclei.parquet")
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in other.iterdir())


def test_blocks_spread_over_workers_give_the_same(
    blobs: Blobs, weights: Path, tmp_path: Path, by_hand: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.steps.nuclei.CORE_PX", 320)
    slide = write(tmp_path / "s.svs", blobs)
    entry = Entry(ref=SlideRef.of(slide))
    config = RunConfig(teacher=weights)
    asked = []
    real = work.find_nuclei

    def count(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments[2])
        return real(*arguments, **options)

    monkeypatch.setattr(work, "find_nuclei", count)
    for name, executor in (("one", SerialExecutor()), ("two", ThreadExecutor(2))):
        counts = run_cohort([entry], tmp_path / name, config, executor)
        assert counts == {"ok": 1, "partial": 0, "failed": 0}
    blocks = len(asked) // 2
    assert blocks > 4
    assert Counter(asked) == Counter(dict.fromkeys(asked, 2))  # each once in each run
    run_cohort([entry], tmp_path / "two", config, ThreadExecutor(2))
    (again,) = read_records(tmp_path / "two" / "slides.parquet")
    assert "nuclei" in again.reused
    assert len(asked) == 2 * blocks
    for made in ("nuclei.parquet", "nuclei.geojson", "image.ome.zarr", "heatmap.ome.zarr"):
        assert digest(tmp_path / "one/slides/s" / made) == digest(tmp_path / "two/slides/s" / made)


def test_what_does_not_decode_is_said_and_has_no_density(
    blobs: Blobs,
    weights: Path,
    tmp_path: Path,
    by_hand: None,
    damage_tile: Callable[[Path, int], Path],
) -> None:
    whole = write(tmp_path / "s.svs", blobs)
    hurt = damage_tile(whole, 0)
    record = predict(hurt, weights, tmp_path / "out")
    assert (record.verdict, record.reason) == ("partial", "unreadable_region")
    assert "nobody looked for nuclei in" in record.message
    folder = tmp_path / "out" / "slides" / "s"
    heatmap = read_heatmap(folder / "heatmap.ome.zarr")
    assert np.isnan(heatmap.values[0, 0, 0])
    assert heatmap.values[0, 1, 1] > 0
    assert heatmap.looked is not None
    assert [NAMES[label] for label in heatmap.looked[[0, 1], [0, 1]]] == ["unreadable", "looked at"]
    rows = pq.read_table(folder / "nuclei.parquet").to_pylist()
    assert 0 < len(rows) < len(blobs.centres)
    assert not any(row["x"] < 240 and row["y"] < 240 for row in rows)


def test_a_slide_of_half_the_resolution_is_enlarged(
    blobs: Blobs, weights: Path, tmp_path: Path, by_hand: None
) -> None:
    half = np.asarray(Image.fromarray(blobs.pixels).reduce(2))
    slide = write(tmp_path / "s.svs", Blobs(pixels=half, centres=blobs.centres / 2), mpp=2 * MPP)
    record = predict(slide, weights, tmp_path / "out")
    assert record.n_nuclei == pytest.approx(len(blobs.centres), rel=0.1)
    folder = tmp_path / "out" / "slides" / "s"
    labels = np.asarray(zarr.open_array(folder / "image.ome.zarr/labels/nuclei/0", mode="r")[...])
    assert labels.shape == (HEIGHT // 2, WIDTH // 2)
    table = pq.read_table(folder / "nuclei.parquet").to_pandas()
    for region in regionprops(labels)[::20]:
        row = table[table.id == region.label].iloc[0]
        assert region.area * (2 * MPP) ** 2 == pytest.approx(row.area_um2, rel=0.15)
        assert abs(region.centroid[1] + 0.5 - row.x) < 0.5


def test_a_slide_that_is_too_coarse_is_refused_with_both_resolutions(
    blobs: Blobs, weights: Path, tmp_path: Path, by_hand: None
) -> None:
    slide = write(tmp_path / "s.svs", blobs, mpp=1.0)
    record = predict(slide, weights, tmp_path / "out")
    assert (record.verdict, record.reason) == ("failed", "resolution")
    assert "0.25" in record.message
    assert "has 1" in record.message


def test_the_viewer_draws_each_nucleus_in_one_cell(
    predicted: tuple[Path, SlideRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, record = predicted
    monkeypatch.setattr(server, "OPENSEADRAGON", Path(__file__))  # HTTP does without it
    monkeypatch.setattr("pipelines.nuclei.geojson.CELL_PX", 300)
    features = json.loads((folder / "nuclei.geojson").read_text())["features"]
    outlines = {tuple(map(tuple, f["geometry"]["coordinates"][0])) for f in features}
    drawn = []
    with TestClient(server.create_app(folder.parents[1])) as client:
        assert client.get("/api/slides/s").json()["nuclei"]["cell_level0_px"]
        for column, row in np.ndindex(3, 3):
            rings = client.get(f"/api/slides/s/nuclei/{column}_{row}.json").json()
            centres = [Polygon(ring).centroid for ring in rings]
            assert all(abs(c.x - column * 300 - 150) < 152 for c in centres)
            assert all(abs(c.y - row * 300 - 150) < 152 for c in centres)
            drawn += rings
        assert client.get("/api/slides/other/nuclei/0_0.json").status_code == 404
    assert len(drawn) == record.n_nuclei
    assert {tuple(map(tuple, ring)) for ring in drawn} == outlines
