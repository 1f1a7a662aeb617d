"""The resources table: each step of a task has its own needs, and the configuration wins."""

from pathlib import Path
from typing import Any

import pytest

from cluster.resources import Needs
from pipelines.blockwise.sealed import BlockTask
from pipelines.cohort.manifest import Entry
from pipelines.embedding.work import EmbeddingWork
from pipelines.errors import ConfigError
from pipelines.job import SlideJob
from pipelines.nuclei.work import NucleiWork
from pipelines.segmentation.work import SegmentationWork
from pipelines.settings.config import load_config
from pipelines.settings.resources import ResourcesConfig, task_needs
from pipelines.steps.pyramid import PyramidWork
from pipelines.tasks import Task, step_of
from wsi.ref import SlideRef

GIB = 1 << 30
TABLE = """
model = "m"
[resources.embed]
gpus = 1
memory_gb = 3.5
[resources.slide]
cpus = 2
"""


def tasks(config: Any) -> dict[str, Task]:
    """One of each kind; only their kind matters."""
    entry = Entry(ref=SlideRef.of("s.svs"))
    made: dict[str, Task] = {"slide": SlideJob(entry=entry, folder=Path("s"), config=config)}
    for kind in (EmbeddingWork, NucleiWork, PyramidWork, SegmentationWork):
        made[kind.step] = BlockTask(
            step=kind.step, ref=entry.ref, folder=Path("s"), work=b"", block=b""
        )
    return made


def test_every_kind_of_task_has_a_row_which_the_configuration_changes(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(TABLE)
    config = load_config(tmp_path / "run.toml", {})
    made = tasks(config)
    assert set(made) == set(ResourcesConfig.model_fields)
    for on_gpu in (False, True):
        needs = {k: task_needs(config.resources, step_of, on_gpu, t) for k, t in made.items()}
        assert needs["embed"] == Needs(gpus=float(on_gpu), memory_bytes=int(3.5 * GIB))
        usual = ResourcesConfig().slide  # of which only the number of CPUs is given
        share = usual.gpus if on_gpu else 0.0
        assert needs["slide"] == Needs(cpus=2, gpus=share, memory_bytes=int(usual.memory_gb * GIB))
        usual = ResourcesConfig().nuclei
        share = usual.gpus if on_gpu else 0.0
        assert needs["nuclei"] == Needs(gpus=share, memory_bytes=int(usual.memory_gb * GIB))
        assert needs["pyramid"].gpus == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[resources.embedding]\ncpus = 1", "resources.embedding"),
        ("[resources.embed]\ncpus = 0", "greater than 0"),
        ("[resources.embed]\nmemory = 1", "resources.embed.memory"),
    ],
)
def test_what_is_not_in_the_table_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "run.toml").write_text('model = "m"\n' + text)
    with pytest.raises(ConfigError, match=said):
        load_config(tmp_path / "run.toml", {})
