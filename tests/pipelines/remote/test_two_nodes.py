"""A run at s3:// on two machines of a Ray cluster, each with a disk of its own: as on one disk."""

from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from cluster.ray_executor import RayExecutor
from pipelines.embedding.work import BLOCK_TILES
from pipelines.output import output_path
from tests.pipelines.remote.runs import FIRST, SECOND, URL, on_disk, run, stored
from wsi.testing import Specimen, write_slide

LARGE = "large"


@pytest.mark.slow
def test_two_machines_leave_what_one_disk_has(
    slides: Path, model: Path, bucket: Any, tmp_path: Path
) -> None:
    """A small stride makes of one slide several blocks, which are done on one node or the other."""
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    write_slide(cohort / f"{LARGE}.svs", Specimen(seed=7, width=2600, height=2300))
    for slide in slides.iterdir():
        (cohort / slide.name).symlink_to(slide)
    near = run(cohort, tmp_path / "near", model, stride_px=20)
    sizes = {"object_store_memory": 80 << 20}
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **sizes}
    )
    disks = [tmp_path / "disk 1", tmp_path / "disk 2"]
    try:
        for disk in disks:
            cluster.add_node(num_cpus=1, env_vars={"RAYPATH_SCRATCH": str(disk)}, **sizes)
        with RayExecutor(address=cluster.address) as executor:
            assert executor.workers == 2
            far = run(cohort, output_path(URL), model, executor, stride_px=20)
            worked = [bool(list(disk.glob("raypath-*/results-*"))) for disk in disks]
            again = run(cohort, output_path(URL), model, executor, stride_px=20)
    finally:
        cluster.shutdown()
    verdicts = {FIRST: "ok", SECOND: "ok", LARGE: "ok", "broken": "failed"}
    assert {slide_id: record.verdict for slide_id, record in near.items()} == verdicts
    assert {slide_id: record.verdict for slide_id, record in far.items()} == verdicts
    assert (far[LARGE].n_tiles or 0) > 3 * BLOCK_TILES
    assert stored(bucket) == on_disk(tmp_path / "near")
    assert worked == [True, True]
    assert {i: r.is_reused for i, r in again.items()} == {i: i != "broken" for i in verdicts}
