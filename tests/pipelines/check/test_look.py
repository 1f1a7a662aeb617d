"""A slide that the run will refuse is refused when it is looked at, with the same words."""

import json
from pathlib import Path
from typing import Any

import pytest

from cluster.serial import SerialExecutor
from distill.card import TrainingCard
from distill.segmentation.card import SegmenterCard
from distill.segmentation.network import build_network
from distill.segmentation.segmenter import save_segmenter
from distill.teachers.postprocess import Thresholds
from distill.teachers.teacher import build_net, save_teacher
from pipelines.check.look import LookTask, look_at
from pipelines.cohort.manifest import Entry
from pipelines.output import output_path
from pipelines.records import read_records
from pipelines.remote.local_copy import leave
from pipelines.run import run_cohort
from pipelines.runfolder import RECORDS_NAME, TISSUE_NAME
from pipelines.settings.config import RunConfig
from tests.pipelines.remote.runs import URL
from wsi.errors import MaskError, ResolutionError
from wsi.ref import SlideRef
from wsi.testing import Specimen, write_slide

ARCHITECTURE = "mobilenetv3_small_050"
CC0 = TrainingCard(data="none", data_licence="CC0", method="not trained")
MPP = 0.5  # of the networks
COARSE = 1.2  # µm per pixel, too coarse for them


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A teacher and a segmenter that nobody trained."""
    folder = tmp_path_factory.mktemp("networks")
    save_teacher(
        build_net(ARCHITECTURE),
        folder / "teacher",
        architecture=ARCHITECTURE,
        mpp=MPP,
        thresholds=Thresholds(),
        training=CC0,
    )
    card = SegmenterCard(
        name="glands",
        architecture=ARCHITECTURE,
        decoder="unet",
        classes=("stroma", "gland"),
        mpp=MPP,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        weights="",
        sha256="",
        training=CC0,
    )
    save_segmenter(build_network(ARCHITECTURE, "unet", outputs=2), folder / "segmenter", card)
    return {name: folder / name for name in ("teacher", "segmenter")}


@pytest.mark.parametrize("network", ["teacher", "segmenter"])
def test_a_slide_too_coarse_for_a_network(
    networks: dict[str, Path], tmp_path: Path, network: str
) -> None:
    config = RunConfig.model_validate({network: networks[network], "executor": "serial"})
    fine, coarse = (
        Entry(
            ref=SlideRef.of(
                write_slide(tmp_path / name, Specimen(seed=4, width=900, height=900, mpp=mpp))
            )
        )
        for name, mpp in (("fine.svs", MPP), ("coarse.svs", COARSE))
    )
    assert look_at(LookTask(entry=fine, config=config, spec=None)).tissue_mm2 > 0
    with pytest.raises(ResolutionError) as refused:
        look_at(LookTask(entry=coarse, config=config, spec=None))
    run_cohort([coarse], tmp_path / "out", config, SerialExecutor())
    (record,) = read_records(tmp_path / "out" / RECORDS_NAME)
    assert (record.reason, record.message) == ("resolution", str(refused.value))


def test_the_tissue_that_a_person_drew_is_what_the_run_will_take(
    networks: dict[str, Path], tmp_path: Path, bucket: Any
) -> None:
    """It lies in the folder of an earlier run, or behind its URL."""
    config = RunConfig(teacher=networks["teacher"], executor="serial")
    path = write_slide(tmp_path / "s.svs", Specimen(seed=4, width=900, height=900, mpp=MPP))
    entry = Entry(ref=SlideRef.of(path))
    detected = look_at(LookTask(entry=entry, config=config, spec=None))
    near = tmp_path / "slides" / "s"
    outline = {"type": "FeatureCollection", "features": [square(100, 300)]}
    leave(near / TISSUE_NAME, json.dumps(outline))
    leave(output_path(URL) / "slides" / "s" / TISSUE_NAME, json.dumps(outline))
    for results in (near, output_path(URL) / "slides" / "s"):
        task = LookTask(entry=entry, config=config, spec=None, results=results)
        found = look_at(task)
        assert found.flags[0] == "edited_tissue"
        assert found.tissue_mm2 == pytest.approx((200 * MPP / 1000) ** 2, rel=0.1)
        assert found.tissue_mm2 < detected.tissue_mm2
    leave(near / TISSUE_NAME, json.dumps(outline | {"features": []}))
    task = LookTask(entry=entry, config=config, spec=None, results=near)
    with pytest.raises(MaskError, match="has no features"):
        look_at(task)
    (near / TISSUE_NAME).unlink()
    assert look_at(task).tissue_mm2 == detected.tissue_mm2


def square(first: int, last: int) -> dict[str, Any]:
    """An annotation of QuPath's, level-0 pixels."""
    ring = [[first, first], [last, first], [last, last], [first, last], [first, first]]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {},
    }
