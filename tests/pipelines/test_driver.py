"""The driver of a run hands work out and does none: it loads no network and no library of one."""

import pickle
import subprocess
import sys
from pathlib import Path

from pipelines.blockwise.frame import Block, BlockFrame
from pipelines.blockwise.work import BlockPlan
from pipelines.cohort.manifest import Entry
from pipelines.job import HandedOut, SlideJob
from pipelines.nuclei.work import NucleiWork
from pipelines.settings.config import load_config
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
from pipelines.tasks import Spread, step_of

folder = Path(sys.argv[1])
job, handed_out = pickle.loads((folder / "sent").read_bytes())
networks = prepare([job.entry], folder / "out", job.config)
spread = Spread(workers=lambda: 2)
tasks = spread.follow(Outcome(item=job, result=handed_out))
pickle.dumps(tasks)
print(networks.teacher.sha256, [step_of(task) for task in tasks])
print({"torch", "timm", "torchvision", "sklearn", "matplotlib"} & sys.modules.keys())
"""
CHECKS = """
import pickle
import sys
from pathlib import Path

from cluster.executor import Outcome
from pipelines.check.check import check_cohort
from pipelines.check.look import LookTask, Work
from pipelines.check.measure import Fixed, MeasureTask, Rates
from pipelines.cli.check import check
from pipelines.code_version import code_version
from pipelines.settings.config import RunConfig

class Elsewhere:
    \"\"\"Tasks go away as bytes, and what others would find comes back.\"\"\"

    workers = 2
    memory_bytes = 1 << 40

    def map(self, task, items, *, follow=None):
        for item in items:
            print(task.__name__, type(pickle.loads(pickle.dumps((task, item)))[1]).__name__)
            yield Outcome(item=item, result=self.found(item))

    def found(self, item):
        if isinstance(item, RunConfig):
            return code_version()
        if isinstance(item, LookTask):
            assert item.spec.size_px > 0
            return Work(n_tiles=5, tissue_mm2=1.0, megapixels=2.0, is_copied=True, bytes_in=1,
                        look_seconds=0.0, flags=())
        if isinstance(item, MeasureTask):
            if item.entry is None:
                return Fixed(start_seconds=1.0, slide_seconds=1.0, slide_bytes=10.0,
                             report_seconds=0.0, mm2_seconds=0.0, mm2_bytes=0.0, peak_bytes=1)
            return Rates(tile_seconds=0.0, tile_bytes=2.0, megapixel_seconds=0.0,
                         megapixel_bytes=3.0, is_copied=True, peak_bytes=1)

folder = Path(sys.argv[1])
entry, config = pickle.loads((folder / "sent").read_bytes())
found = check_cohort([entry], folder / "out", config, Elsewhere())
assert found.problems == (), found.problems
print(found.estimate.bytes_out)
print({"torch", "timm", "torchvision", "sklearn", "matplotlib"} & sys.modules.keys())
"""


def drive(script: str, folder: Path) -> list[str]:
    """The lines that a driver says, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


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
        device="cpu",
    )
    blocks = (Block(row=0, column=0), Block(row=1, column=0))
    job = SlideJob(entry=Entry(ref=ref), folder=tmp_path / "out" / "slides" / "s", config=config)
    handed_out = HandedOut(plans=(BlockPlan(work=work, blocks=blocks).sealed(),))
    (tmp_path / "sent").write_bytes(pickle.dumps((job, handed_out)))
    said, loaded = drive(DRIVER, tmp_path)
    assert said.endswith("['nuclei', 'nuclei']")
    assert loaded == "set()"


def test_the_driver_of_a_check_needs_a_models_card_and_no_more(tmp_path: Path) -> None:
    config = load_config(None, {})
    assert config.model is not None
    entry = Entry(ref=SlideRef(path=tmp_path / "s.svs", slide_id="s"))
    (tmp_path / "sent").write_bytes(pickle.dumps((entry, config)))
    *tasks, size, loaded = drive(CHECKS, tmp_path)
    assert tasks == [
        "load_networks RunConfig",
        "look_at LookTask",
        "measure MeasureTask",
        "measure MeasureTask",
    ]
    assert float(size) == 10 + 5 * 2 + 2 * 3
    assert loaded == "set()"
