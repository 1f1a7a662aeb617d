"""The driver of a run hands work out and does none: it loads no network and no library of one."""

import pickle
import subprocess
import sys
from pathlib import Path

from pipelines.blockwise.frame import Block, BlockFrame
from pipelines.blockwise.work import BlockPlan
from pipelines.config import load_config
from pipelines.job import HandedOut, SlideJob
from pipelines.manifest import Entry
from pipelines.nuclei.work import NucleiWork
from wsi.plan import ReadPlan
from wsi.ref import SlideRef

ROOT = Path(__file__).parents[2]
DRIVER = """
import pickle
import sys
from pathlib import Path

import pipelines.report.report
from cluster.executor import Outcome
from cluster.ray_executor import RayExecutor
from pipelines.cli.run import run
from pipelines.run import prepare
from pipelines.spread import Spread, step_of

folder = Path(sys.argv[1])
job, handed_out = pickle.loads((folder / "sent").read_bytes())
networks = prepare([job.entry], folder / "out", job.config)
spread = Spread(workers=lambda: 2)
tasks = spread.follow(Outcome(item=job, result=handed_out))
pickle.dumps(tasks)
print(networks.teacher.sha256, [step_of(task) for task in tasks])
print({"torch", "timm", "torchvision", "sklearn", "matplotlib"} & sys.modules.keys())
"""


def test_what_comes_and_goes_through_the_driver_loads_no_networks_library(tmp_path: Path) -> None:
    config = load_config(None, {})
    assert config.teacher is not None
    ref = SlideRef(path=tmp_path / "s.svs", slide_id="s")
    plan = ReadPlan(level=0, level_px=512.0, level0_px=512.0)
    work = NucleiWork(
        ref=ref,
        parameters={},
        folder=tmp_path / "out" / "slides" / "s" / ".partial-nuclei-0",
        frame=BlockFrame(mpp=0.5, scale=1.0, shape=(1024, 512), core_px=512, plan=plan),
        level0_mpp=0.5,
        network=config.teacher,
        sha256="",
        bfloat16=False,
    )
    blocks = (Block(row=0, column=0), Block(row=1, column=0))
    job = SlideJob(entry=Entry(ref=ref), folder=tmp_path / "out" / "slides" / "s", config=config)
    handed_out = HandedOut(plans=(BlockPlan(work=work, blocks=blocks).sealed(),))
    (tmp_path / "sent").write_bytes(pickle.dumps((job, handed_out)))
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    said, loaded = done.stdout.splitlines()
    assert said.endswith("['nuclei', 'nuclei']")
    assert loaded == "set()"
