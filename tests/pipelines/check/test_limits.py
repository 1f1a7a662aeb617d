"""A check's tasks have the limits of the run's: slides from anywhere are opened in them too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.check.limits import needs_of, slide_of
from pipelines.check.look import LookTask
from pipelines.check.measure import MeasureTask
from pipelines.cohort.manifest import Entry
from pipelines.settings.config import RunConfig
from wsi.ref import SlideRef
from wsi.testing import Specimen, write_slide

ENTRY = Entry(ref=SlideRef(path=Path("/s.svs"), slide_id="s"))


def test_limits_are_for_slides_and_not_for_what_is_made_up() -> None:
    config = RunConfig(model=Path("m"))
    assert slide_of(LookTask(entry=ENTRY, config=config, spec=None)) == ENTRY.ref
    assert slide_of(MeasureTask(config=config, near=None, entry=ENTRY)) == ENTRY.ref
    assert slide_of(MeasureTask(config=config, near=None)) is None
    assert slide_of(config) is None


def test_a_gpu_is_set_aside_for_what_computes_on_it() -> None:
    config = RunConfig(model=Path("m"), device="cuda")
    look = needs_of(config, LookTask(entry=ENTRY, config=config, spec=None))
    tried = needs_of(config, MeasureTask(config=config, near=None, entry=ENTRY))
    slide = config.resources.slide
    assert (look.gpus, tried.gpus) == (0.0, slide.gpus)
    assert look.memory_bytes == tried.memory_bytes == int(slide.memory_gb * 2**30)
    assert needs_of(config, config).gpus == slide.gpus


@pytest.mark.slow
def test_a_slide_beyond_the_limit_of_a_look_fails_by_name(
    raypath: Callable[..., Any], tmp_path: Path
) -> None:
    slide = write_slide(tmp_path / "slide.svs", Specimen(seed=1, width=600, height=600))
    config = tmp_path / "run.toml"
    config.write_text("[limits]\nmemory_gb = 0.05\n")  # less than the libraries take
    said = raypath("check", slide, "-o", tmp_path / "out", "--config", config, "--json")
    assert said.code == 1
    # Of a look that is done before its memory is first looked at, the pieces tried after it say so.
    told = f"{said.out}{said.err}"
    assert "slide" in told
    assert "out_of_memory" in told
    assert "the limit is 0.05 GiB: raise 'memory_gb'" in told
    assert "0 slides ok, 1 will fail" in said.err
