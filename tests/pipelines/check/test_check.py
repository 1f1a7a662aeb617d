"""`raypath check`: says beforehand what the run would say, and adds up what pieces took."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.serial import SerialExecutor
from pipelines.check import check as module
from pipelines.check import room
from pipelines.check.check import Check, check_cohort
from pipelines.check.compare import compare, duration
from pipelines.check.estimate import Totals, estimate
from pipelines.check.look import Checked, Work
from pipelines.check.measure import Rates
from pipelines.cohort.manifest import read_cohort
from pipelines.demo.alignment import write_colour_model
from pipelines.errors import UsageError
from pipelines.records import read_records
from pipelines.run import run_cohort
from pipelines.runfolder import RECORDS_NAME
from pipelines.settings.config import RunConfig
from tests.pipelines.check.rates import COPIED, FIXED
from wsi.identity import stored_bytes
from wsi.plan import TileSpec
from wsi.testing import Specimen, write_slide


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    write_colour_model(folder, TileSpec(size_px=64, mpp=1.0))
    return folder


def check(
    slides: Path, out: Path, model: Path, *, memory_bytes: int | None = None
) -> tuple[Check, dict[str, Checked]]:
    said: dict[str, Checked] = {}
    found = check_cohort(
        read_cohort([slides]),
        out,
        RunConfig(model=model, executor="serial"),
        SerialExecutor(),
        memory_bytes=memory_bytes,
        report=lambda checked: said.update({checked.slide_id: checked}),
    )
    return found, said


def work(*, tiles: int = 10, copied: bool = True) -> Work:
    return Work(
        n_tiles=tiles,
        tissue_mm2=2.0,
        megapixels=8.0,
        is_copied=copied,
        bytes_in=1,
        look_seconds=1.0,
        flags=(),
    )


def test_the_pieces_add_up_by_hand() -> None:
    totals = Totals()
    totals.add(work())
    totals.add(work(tiles=30))
    expected = estimate(totals, FIXED, [COPIED], dim=16, workers=2)
    # two slides: fixed 4, looks 2, 40 tiles 20, 4 mm² 40, 16 MP 4: by two workers
    assert expected.seconds == 5 + (4 + 2 + 20 + 40 + 4) / 2 + 2 * 0.5
    assert expected.bytes_out == 2 * 1000 + 40 * 20 + 4 * 100 + 16 * 50
    # the largest slide: fixed 1000, 30 tiles, 2 mm², 8 MP; two such are more than there is in all
    assert expected.at_work_bytes == expected.bytes_out
    one = estimate(totals, FIXED, [COPIED], dim=16, workers=1)
    assert one.at_work_bytes == 1000 + 30 * 20 + 2 * 100 + 8 * 50
    assert expected.process_bytes == 4000 + 30 * 16 * 4 * 3
    assert expected.peak_bytes == 2 * expected.process_bytes


def test_what_is_decoded_has_rates_of_its_own() -> None:
    decoded = Rates(
        tile_seconds=0.5,
        tile_bytes=20.0,
        megapixel_seconds=2.0,
        megapixel_bytes=3000.0,
        is_copied=False,
        peak_bytes=1,
    )
    totals = Totals()
    totals.add(work(tiles=0))
    totals.add(work(tiles=0, copied=False))
    expected = estimate(totals, FIXED, [COPIED, decoded], dim=16, workers=1)
    assert expected.seconds == 5 + 4 + 2 + 40 + 8 * 0.25 + 8 * 2.0 + 1
    assert expected.bytes_out == 2000 + 400 + 8 * 50 + 8 * 3000


def test_made_slides_are_estimated_and_compared_with_their_run(model: Path, tmp_path: Path) -> None:
    slides, out = tmp_path / "slides", tmp_path / "out"
    slides.mkdir()
    for seed in (1, 2):
        write_slide(slides / f"s{seed}.svs", Specimen(seed=seed, width=1400, height=1100))
    found, said = check(slides, out, model)
    assert (found.failing, found.problems) == (0, ())
    assert found.estimate is not None
    assert {path.name for path in out.iterdir()} == {"check.json"}
    assert compare(out) == []
    config = RunConfig(model=model, executor="serial")
    run_cohort(read_cohort([slides]), out, config, SerialExecutor())
    for record in read_records(out / RECORDS_NAME):
        todo = said[record.slide_id].todo
        assert todo is not None
        assert todo.n_tiles == (record.n_tiles or 0) + (record.n_excluded_tiles or 0)
        assert todo.tissue_mm2 == record.tissue_mm2
    written = stored_bytes(out / "slides") or 0
    assert written / 1.5 < found.estimate.bytes_out < written * 1.5
    rows = dict(compare(out))
    assert list(rows) == ["time", "folder", "memory"]
    held = max(record.peak_rss_bytes or 0 for record in read_records(out / RECORDS_NAME))
    assert f"{held / 2**30:.2f} GiB held" in rows["memory"]
    assert held / 1.5 < found.estimate.process_bytes < held * 1.5
    assert "Estimate of raypath check" in (out / "report.html").read_text()
    content = json.loads((out / "check.json").read_text())
    (out / "check.json").write_text(json.dumps(content | {"slides": 3}))
    assert compare(out) == []


def test_real_slides_fail_beforehand_for_the_reason_they_fail_with(
    model: Path, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {
        "CMU-1-Small-Region.svs": "",
        "test3-DAPI-2-(387).ndpi": "not_brightfield",
        "multi_frame_jpeg_camelyon_challenge_image.dcm": "resolution",
        "broken.svs": "unsupported",
        "kidney-48-5.tif": "no_mpp",
        "sm_image_grayscale.dcm": "unsupported",
        "not there.svs": "not_found",
    }
    cut = (shared_data / "slides" / "CMU-1-Small-Region.svs").read_bytes()
    (tmp_path / "cut.svs").write_bytes(cut[: len(cut) // 2])
    manifest = tmp_path / "manifest.csv"
    rows = [f'"{shared_data / "slides" / name}"' for name in names] + ["cut.svs"]
    manifest.write_text("\n".join(["path", *rows]) + "\n")
    monkeypatch.setattr(module, "_try", lambda *_: (FIXED, [COPIED], []))
    found, said = check(manifest, tmp_path / "out", model, memory_bytes=10)
    assert {Path(name).stem: reason for name, reason in names.items()} | {"cut": "truncated"} == {
        slide_id: checked.reason for slide_id, checked in said.items()
    }
    assert found.failing == len(said) - 1
    assert all(c.message for c in said.values() if c.verdict == "failed")
    (problem,) = found.problems
    assert "GiB of memory" in problem
    assert "--workers" in problem


def test_no_room_and_no_permission_are_said_beforehand(
    model: Path, synthetic: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_try", lambda *_: (FIXED, [COPIED], []))
    monkeypatch.setattr(room, "free_bytes", lambda _: 100)
    found, _ = check(synthetic.path, tmp_path / "out", model)
    assert len(found.problems) == 1
    assert "GB are free" in found.problems[0]

    def refuse(**_: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(room, "TemporaryFile", refuse)
    found, _ = check(synthetic.path, tmp_path / "other", model)
    assert found.estimate is None
    assert "cannot be written (Permission denied)" in found.problems[0]
    assert not (tmp_path / "other").exists()


class Nodes(SerialExecutor):
    """A cluster of 40 CPUs, as far as anybody asks."""

    workers = 40  # type: ignore[misc]

    def __init__(self, memory_bytes: int | None) -> None:
        self._memory_bytes = memory_bytes

    @property
    def memory_bytes(self) -> int | None:  # type: ignore[override]
        return self._memory_bytes


def check_on_nodes(
    memory_bytes: int | None, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Check:
    """Check 40 slides on nodes with that much memory; a process takes 2 GiB."""
    large = replace(FIXED, peak_bytes=2 << 30)
    monkeypatch.setattr(module, "_try", lambda *_: (large, [COPIED], []))
    path = write_slide(folder / "slide.svs", Specimen(seed=1, width=600, height=600))
    (entry,) = read_cohort([path])
    named = [replace(entry, ref=replace(entry.ref, slide_id=f"s{n}")) for n in range(40)]
    config = RunConfig(model=model, address="10.0.0.1:6379")
    return check_cohort(named, folder / "out", config, Nodes(memory_bytes))


def test_a_clusters_workers_have_the_memory_of_its_nodes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never that of this machine, of which there may be less and with more slides at a time."""
    found = check_on_nodes(1 << 40, model, tmp_path, monkeypatch)
    assert (found.problems, found.unknown) == ((), ())
    assert found.estimate is not None
    assert found.estimate.peak_bytes == 40 * found.estimate.process_bytes


def test_ray_has_no_more_slides_at_work_than_it_sets_memory_aside_for(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = check_on_nodes(15 << 30, model, tmp_path, monkeypatch)
    assert found.estimate is not None
    assert found.estimate.peak_bytes == 10 * found.estimate.process_bytes  # 1.5 GiB each
    (problem,) = found.problems
    assert "needs about 20 GiB of memory and 15 GiB are there: set memory_gb = 2.1" in problem
    assert "[resources.slide]" in problem


def test_a_cluster_that_has_no_nodes_yet_has_unknown_memory(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = check_on_nodes(None, model, tmp_path, monkeypatch)
    assert found.problems == ()
    (gap,) = found.unknown
    assert "the cluster has no nodes yet" in gap


def test_a_stride_that_leaves_gaps_is_refused_as_by_run(model: Path, tmp_path: Path) -> None:
    config = RunConfig(model=model, executor="serial", stride_px=65)
    with pytest.raises(UsageError, match="stride_px must be in 1-64"):
        check_cohort(read_cohort(["s.svs"]), tmp_path, config, SerialExecutor())


def test_the_tissue_in_the_runs_folder_counts(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slides, out = tmp_path / "made", tmp_path / "out"
    slides.mkdir()
    for name in ("a", "b"):
        write_slide(slides / f"{name}.svs", Specimen(seed=1, width=1400, height=1100))
    (out / "slides" / "a").mkdir(parents=True)
    nothing = json.dumps({"type": "FeatureCollection", "features": []})
    (out / "slides" / "a" / "tissue.geojson").write_text(nothing)
    monkeypatch.setattr(module, "_try", lambda *_: (FIXED, [COPIED], []))
    found, said = check(slides, out, model)
    assert (found.failing, said["a"].reason, said["b"].verdict) == (1, "mask", "ok")


@pytest.mark.parametrize(
    ("seconds", "text"), [(7.4, "7 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
