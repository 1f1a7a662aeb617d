"""`raypath segment run`, from a slide's file to labels, outlines and areas."""

import json
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr_models import v05
from PIL import Image
from shapely.geometry import shape
from typer.testing import CliRunner

from cluster.threads import ThreadExecutor
from distill.card import TrainingCard
from distill.segmentation.card import SegmenterCard
from distill.segmentation.network import build_network
from distill.segmentation.segmenter import Segmenter, save_segmenter
from pipelines.cli.main import cli
from pipelines.cohort.manifest import Entry
from pipelines.records import SlideRecord, read_records
from pipelines.run import run_cohort
from pipelines.segmentation import work
from pipelines.settings.config import RunConfig
from tests.distill.segmentation.test_windows import Near
from wsi.atomic import digest
from wsi.ref import SlideRef
from wsi.slide import Pixels
from wsi.synthetic.aperio import write_svs

WIDTH, HEIGHT, MPP = 1100, 900, 0.5
ARCHITECTURE = "mobilenetv3_small_050"


def card_of(mpp: float) -> SegmenterCard:
    return SegmenterCard(
        name="glands",
        architecture=ARCHITECTURE,
        decoder="unet",
        classes=("stroma", "gland"),
        mpp=mpp,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        weights="",
        sha256="",
        training=TrainingCard(data="none", data_licence="CC0", method="not trained"),
    )


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """Two dark discs in light pink."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    dark = (np.hypot(x - 350, y - 400) < 150) | (np.hypot(x - 800, y - 500) < 100)
    return np.where(dark[..., None], (90, 40, 110), (235, 190, 215)).astype(np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmenter's folder; what it holds is never asked, see `by_hand`."""
    folder = tmp_path_factory.mktemp("segmenter")
    save_segmenter(build_network(ARCHITECTURE, "unet", outputs=2), folder, card_of(1.0))
    return folder


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have blocks looked at by a network that calls dark what is dark."""
    work.segmenter_of.cache_clear()
    made = Segmenter(net=Near(), card=card_of(1.0))
    monkeypatch.setattr(work, "load_segmenter", lambda path, device: made)


def write(path: Path, pixels: Pixels) -> Path:
    return write_svs(
        path,
        width=WIDTH,
        height=HEIGHT,
        mpp=MPP,
        magnification=20,
        read_block=lambda x, y, w, h: pixels[y : y + h, x : x + w],
        quality=95,
    )


def segment(slide: Path, weights: Path, out: Path) -> SlideRecord:
    """Run the command in this process; the upper 800 rows are tissue."""
    mask = np.zeros((90, 110), np.uint8)
    mask[:80] = 255
    Image.fromarray(mask).save(out.parent / "mask.png")
    manifest = out.parent / "manifest.csv"
    manifest.write_text(f"path,mask\n{slide},{out.parent / 'mask.png'}\n")
    words = ["segment", "run", str(manifest), "--weights", str(weights), "-o", str(out)]
    result = CliRunner().invoke(cli, [*words, "--executor", "serial"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    (record,) = read_records(out / "slides.parquet")
    return record


@pytest.fixture
def segmented(pixels: Pixels, weights: Path, tmp_path: Path) -> tuple[Path, SlideRecord]:
    record = segment(write(tmp_path / "s.svs", pixels), weights, tmp_path / "out")
    return tmp_path / "out" / "slides" / "s", record


def labels_of(folder: Path) -> Any:
    return np.asarray(zarr.open_array(folder / "image.ome.zarr/labels/glands/0", mode="r")[...])


def test_labels_areas_and_outlines_agree(
    segmented: tuple[Path, SlideRecord], pixels: Pixels
) -> None:
    folder, record = segmented
    assert record.verdict == "ok"
    labels = labels_of(folder)
    assert labels.shape == (HEIGHT // 2, WIDTH // 2)  # the segmenter looks at 1 µm per pixel
    assert not labels[400:].any()
    dark = pixels[::2, ::2].mean(2) < 150
    assert ((labels[:400] == 2) == dark[:400]).mean() > 0.99
    assert (labels[:400] > 0).all()
    said = json.loads((folder / "segmentation.json").read_text())
    for of_class in said["classes"]:
        counted = (labels == of_class["label"]).sum() * 1e-6
        assert of_class["area_mm2"] == pytest.approx(counted)
        assert record.segmented_mm2[of_class["name"]] == pytest.approx(counted)
    assert [c["name"] for c in said["classes"]] == ["stroma", "gland"]
    assert said["looked_mm2"] == pytest.approx(said["tissue_mm2"]) == pytest.approx(0.22)
    assert said["unreadable_tissue_mm2"] == 0
    features = json.loads((folder / "segmentation.geojson").read_text())["features"]
    assert len(features) == said["n_outlines"] == 2
    for feature, (x, y, radius) in zip(
        sorted(features, key=lambda f: shape(f["geometry"]).centroid.x),
        [(350, 400, 150), (800, 500, 100)],
        strict=True,
    ):
        outline = shape(feature["geometry"])
        assert outline.is_valid
        assert (outline.centroid.x, outline.centroid.y) == pytest.approx((x, y), abs=3)
        assert outline.area == pytest.approx(np.pi * radius**2, rel=0.1)
        counted = (labels[:, (x - radius) // 2 - 9 : (x + radius) // 2 + 9] == 2).sum()
        assert outline.area == pytest.approx(4 * counted, rel=0.01)
        properties = feature["properties"]
        assert properties["classification"]["name"] == "gland"
        assert properties["measurements"]["Area µm^2"] == pytest.approx(outline.area / 4, rel=1e-3)
        assert uuid.UUID(feature["id"])
    assert (folder / "segmentation.png").stat().st_size > 10_000
    page = (folder.parents[1] / "report.html").read_text()
    assert f'"segmented_mm2": {json.dumps(record.segmented_mm2)}' in page


def test_the_labels_are_a_valid_label_image_of_the_pyramid(
    segmented: tuple[Path, SlideRecord],
) -> None:
    folder, _ = segmented
    image = v05.Image.from_zarr(zarr.open_group(folder / "image.ome.zarr", mode="r"))
    assert image.labels is not None
    assert sorted(image.labels.label_paths) == ["glands", "tissue"]
    group = zarr.open_group(folder / "image.ome.zarr/labels/glands", mode="r")
    label = v05.ImageLabel.from_zarr(group)
    (scale, translation) = label.attributes.ome.multiscales[0].datasets[0].coordinateTransformations
    assert scale.scale == pytest.approx([1.0, 1.0])
    assert translation.translation == pytest.approx([0.25, 0.25])
    ome: Any = group.attrs["ome"]
    ours: Any = group.attrs["raypath"]
    said = ome["image-label"]["properties"]
    assert {each["label-value"]: each["name"] for each in said} == {1: "stroma", 2: "gland"}
    assert ours["labels"] == {"0": "not looked at", "1": "stroma", "2": "gland"}


def test_the_same_again_is_not_done_again(
    segmented: tuple[Path, SlideRecord], weights: Path, tmp_path: Path
) -> None:
    folder, record = segmented
    before = digest(folder)
    again = segment(tmp_path / "s.svs", weights, tmp_path / "out")
    assert again.reused == ("tissue", "pyramid", "segmentation", "segmentation_outlines", "preview")
    assert digest(folder) == before
    assert again.segmented_mm2 == record.segmented_mm2
    labels = folder / "image.ome.zarr" / "labels" / "glands"
    whole = digest(labels)
    shutil.rmtree(labels / "0")
    repaired = segment(tmp_path / "s.svs", weights, tmp_path / "out")
    assert "segmentation" not in repaired.reused
    assert digest(labels) == whole


@pytest.mark.usefixtures("segmented")
def test_with_another_normalisation_it_is_done_again(weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(weights, other)
    card = other / "segmenter.toml"
    said = card.read_text()
    card.write_text(re.sub(r"std = \[[^]]*\]", "std = [0.5, 0.5, 0.5]", said))
    assert card.read_text() != said
    again = segment(tmp_path / "s.svs", other, tmp_path / "out")
    assert again.reused[:2] == ("tissue", "pyramid")
    assert "segmentation" not in again.reused


def test_a_killed_run_goes_on_and_workers_share_the_blocks(
    pixels: Pixels, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of one window each: cut, killed and spread, the labels are the same."""
    slide = write(tmp_path / "s.svs", pixels)
    straight = tmp_path / "straight"
    segment(slide, weights, straight)
    monkeypatch.setattr("pipelines.steps.segment.CORE_PX", 384)
    real, asked = work.segment_block, []

    def killed_at_the_second(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments[2])
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(work, "segment_block", killed_at_the_second)
    with pytest.raises((KeyboardInterrupt, FileNotFoundError)):
        segment(slide, weights, tmp_path / "killed")
    segment(slide, weights, tmp_path / "killed")
    assert len(asked) == 5  # four blocks, the second of them twice
    entry = Entry(ref=SlideRef(path=slide, slide_id="s", mask=tmp_path / "mask.png"))
    config = RunConfig(segmenter=weights)
    counts = run_cohort([entry], tmp_path / "spread", config, ThreadExecutor(2))
    assert counts == {"ok": 1, "partial": 0, "failed": 0}
    assert len(asked) == 9
    expected = labels_of(straight / "slides" / "s")
    for name in ("killed", "spread"):
        folder = tmp_path / name / "slides" / "s"
        np.testing.assert_array_equal(labels_of(folder), expected)
        assert not list(folder.glob(".partial*"))


def test_a_tile_that_does_not_decode_is_said_and_left_out(
    pixels: Pixels, weights: Path, tmp_path: Path, damage_tile: Callable[[Path, int], Path]
) -> None:
    slide = damage_tile(write(tmp_path / "s.svs", pixels), 0)
    record = segment(slide, weights, tmp_path / "out")
    assert (record.verdict, record.reason) == ("partial", "unreadable_region")
    assert "nobody segmented" in record.message
    folder = tmp_path / "out" / "slides" / "s"
    labels = labels_of(folder)
    assert not labels[:100, :100].any()
    assert labels[300, 300] > 0
    said = json.loads((folder / "segmentation.json").read_text())
    assert said["unreadable_tissue_mm2"] > 0
    assert said["looked_mm2"] + said["unreadable_tissue_mm2"] == pytest.approx(
        said["tissue_mm2"],
        rel=0.02,  # the mask's pixels are not cut
    )
