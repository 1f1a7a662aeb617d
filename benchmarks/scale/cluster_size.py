"""How far one driver carries: the real driver over stubs on a made-up cluster, then on paper.

    python -m benchmarks.scale.cluster_size --nodes 1 2 4 --seconds-a-block 10

Ray's local multi-node cluster puts several nodes on this machine. The driver, its tasks and their
order are those of a run; a task only sleeps, `--faster` times less than it would take. Then tasks
that do nothing are handed out as if there were the workers of a large cluster, for the time that
the driver spends on each with so many on their way. From both follows what a cluster of up to
1,000 nodes does, and what keeps it from doing more.
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from ray.cluster_utils import Cluster

from benchmarks.speed.report import machine
from cluster.ray_executor import RayExecutor
from pipelines.blockwise.sealed import BlockTask, SealedPlan
from pipelines.cohort.manifest import Entry
from pipelines.job import BlockDone, HandedOut, SlideJob
from pipelines.records import SlideRecord
from pipelines.settings.config import RunConfig
from pipelines.tasks import Done, Spread, Task, is_verdict
from wsi.ref import SlideRef

STORE_BYTES = 80 << 20
ON_PAPER = (1, 10, 100, 300, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds of a worker for a block and for the rest of a slide, and how many blocks it has.

    The defaults are for 10,000 tiles of 224 pixels and a small network: twenty blocks of 512.
    `bytes` are those that a slide makes the storage read.
    """

    block_s: float = 10.0
    slide_s: float = 20.0
    blocks: int = 20
    bytes: float = 1e9

    @property
    def tasks(self) -> int:
        """Of a slide: it is looked at, its blocks are done, it is done."""
        return self.blocks + 2

    @property
    def worker_s(self) -> float:
        """Of a slide, on one worker."""
        return self.blocks * self.block_s + self.slide_s


def stub(costs: Costs, faster: float, task: Task) -> Done:
    """What a worker does instead of a task; `faster` is infinity to do nothing."""
    if isinstance(task, BlockTask):
        time.sleep(costs.block_s / faster)
        return BlockDone(seconds=costs.block_s / faster)
    if task.hands_out:
        plan = SealedPlan(
            step="embed",
            ref=task.entry.ref,
            folder=task.folder,
            work=b"",
            blocks=(b"",) * costs.blocks,
        )
        return HandedOut(plans=(plan,))
    time.sleep(costs.slide_s / faster)
    return SlideRecord(slide_id=task.entry.ref.slide_id, path="", verdict="ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """What one drive through a cohort took.

    `driver_s` is CPU time of the driver's process, Ray's threads in it included.
    """

    workers: int
    slides: int
    tasks: int
    wall_s: float
    driver_s: float


def drive(executor: RayExecutor, costs: Costs, *, slides: int, faster: float) -> Drive:
    """Send a cohort of stubs through the driver."""
    config = RunConfig(model=Path("none"))
    jobs = (
        SlideJob(
            entry=Entry(ref=SlideRef(path=Path(f"{n}.svs"), slide_id=f"s{n}")),
            folder=Path(f"out/s{n}"),
            config=config,
        )
        for n in range(slides)
    )
    spread = Spread(workers=lambda: max(2, executor.workers))  # one alone is handed no blocks
    tasks = verdicts = 0
    started, cpu = time.perf_counter(), time.process_time()
    do = partial(stub, costs, faster)
    for outcome in executor.map(do, spread.first_tasks(jobs), follow=spread.follow):
        tasks += 1
        verdicts += is_verdict(outcome)
    wall_s, driver_s = time.perf_counter() - started, time.process_time() - cpu
    if (tasks, verdicts) != (slides * costs.tasks, slides):
        raise RuntimeError(f"{slides} slides gave {verdicts} verdicts in {tasks} tasks")
    return Drive(
        workers=executor.workers, slides=slides, tasks=tasks, wall_s=wall_s, driver_s=driver_s
    )


@contextmanager
def made_up_cluster() -> Iterator[Cluster]:
    """A cluster on this machine whose first node does no work; others are to be added."""
    head: dict[str, Any] = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(
        initialize_head=True, head_node_args=head | {"object_store_memory": STORE_BYTES}
    )
    try:
        yield cluster
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def connected(cluster: Cluster) -> Iterator[RayExecutor]:
    """An executor on all of a cluster, whose workers have started."""
    with RayExecutor(address=cluster.address) as executor:
        drive(executor, Costs(blocks=2), slides=2 * executor.workers, faster=math.inf)
        yield executor


def on_paper(
    costs: Costs,
    driver_s: Sequence[tuple[int, float]],
    *,
    cpus: int,
    storage: float,
    tasks: int | None = None,
) -> list[tuple[int, float, str]]:
    """Slides an hour by number of nodes, and what sets that number.

    Parameters
    ----------
    driver_s
        Seconds of the driver for a task, by the workers it believed to have, ascending; beyond
        the last they grow in proportion to the workers.
    storage
        Bytes a second that the storage gives to all nodes together.
    tasks
        Of a slide; None where each is cut.
    """
    rows = []
    for nodes in ON_PAPER:
        workers = nodes * cpus
        rates = {
            "workers": workers / costs.worker_s,
            "driver": 1 / ((tasks or costs.tasks) * driver_time(driver_s, workers)),
            "storage": storage / costs.bytes,
        }
        least = min(rates, key=rates.__getitem__)
        rows.append((nodes, 3600 * rates[least], least))
    return rows


def driver_time(measured: Sequence[tuple[int, float]], workers: int) -> float:
    """Seconds of the driver for a task, between measurements and beyond the last of them."""
    before = (0, measured[0][1])
    for at in measured:
        if workers <= at[0]:
            share = (workers - before[0]) / (at[0] - before[0])
            return before[1] + share * (at[1] - before[1])
        before = at
    return before[1] * workers / before[0]


def main(words: Sequence[str] | None = None) -> None:
    """Measure, and print what follows."""
    given = _read(words)
    costs = Costs(block_s=given.seconds_a_block, slide_s=given.seconds_a_slide, blocks=given.blocks)
    print(machine(), "\n")
    print(" nodes  workers  tasks/s  efficiency  driver ms/task")
    measured = []
    with made_up_cluster() as cluster:
        for nodes, before in zip(given.nodes, [0, *given.nodes], strict=False):
            for _ in range(nodes - before):
                cluster.add_node(num_cpus=given.cpus, object_store_memory=STORE_BYTES)
            with connected(cluster) as executor:
                slides = given.slides * executor.workers
                ran = drive(executor, costs, slides=slides, faster=given.faster)
            ideal = slides * costs.worker_s / given.faster / ran.workers
            speed = f"{ran.tasks / ran.wall_s:9.0f}{ideal / ran.wall_s:12.0%}"
            print(f"{nodes:6d}{ran.workers:9d}{speed}{1e3 * ran.driver_s / ran.tasks:16.2f}")
        print("\nas if workers  on their way  tasks/s  driver ms/task")
        with connected(cluster) as executor:
            for workers in given.pretend:
                slides = max(1, given.tasks // costs.tasks)
                with mock.patch.object(RayExecutor, "workers", workers):
                    ran = drive(executor, costs, slides=slides, faster=math.inf)
                measured.append((workers, ran.driver_s / ran.tasks))
                counts = f"{workers:13d}{min(3 * workers, ran.tasks):14d}"
                print(f"{counts}{ran.tasks / ran.wall_s:9.0f}{1e3 * measured[-1][1]:16.2f}")
    print(
        f"\nOn paper: nodes of {given.node_cpus} CPUs; a slide is {costs.blocks} blocks of "
        f"{costs.block_s:g} s and {costs.slide_s:g} s more, {costs.worker_s / 3600:.3f} CPU hours."
    )
    storage = given.storage_gbps * 1e9 / 8
    for title, tasks in (("Every slide cut", costs.tasks), ("Slides whole, as of many", 1)):
        print(f"\n{title}, {tasks} tasks each")
        print(" nodes  slides/h  node hours a slide  what sets it")
        paper = on_paper(costs, measured, cpus=given.node_cpus, storage=storage, tasks=tasks)
        for nodes, rate, limit in paper:
            print(f"{nodes:6d}{rate:10.0f}{nodes / rate:20.4f}  {limit}")


def _read(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--nodes", type=int, nargs="+", default=[1, 2, 4], help="to make up, ascending")
    add("--cpus", type=int, default=2, help="of a made-up node")
    add("--slides", type=int, default=2, help="for each made-up worker")
    add("--faster", type=float, default=50.0, help="a stub than its task")
    add("--pretend", type=int, nargs="+", default=[16, 1600, 16000], help="workers, ascending")
    add("--tasks", type=int, default=4000, help="to hand out to those")
    add("--node-cpus", type=int, default=16, help="of a node on paper")
    add("--storage-gbps", type=float, default=100.0, help="gigabits a second, on paper")
    add("--seconds-a-block", type=float, default=Costs().block_s)
    add("--seconds-a-slide", type=float, default=Costs().slide_s)
    add("--blocks", type=int, default=Costs().blocks)
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
