"""`[limits]` of a run, and what a slide's size allows."""

import math
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ConfigError
from pipelines.records import read_records
from pipelines.settings.config import load_config
from pipelines.settings.limits import LimitsConfig, task_limits
from wsi.ref import SlideRef
from wsi.testing import Specimen, write_slide


@pytest.fixture
def ref(tmp_path: Path) -> SlideRef:
    """A file of 10 MB."""
    path = tmp_path / "slide.svs"
    path.write_bytes(bytes(10_000_000))
    return SlideRef.of(path)


def itself(ref: SlideRef) -> SlideRef:
    return ref


def test_a_larger_slide_has_longer(ref: SlideRef) -> None:
    config = LimitsConfig(memory_gb=3.0, minutes=2.0, minutes_per_gb=100.0)
    limits = task_limits(config, itself, ref)
    assert limits.memory_bytes == 3 << 30
    assert limits.seconds == pytest.approx(60 * (2.0 + 100.0 * 0.01))


def test_without_a_limit_of_memory_it_is_the_workers_share(ref: SlideRef) -> None:
    assert task_limits(LimitsConfig(), itself, ref).memory_bytes is None


def test_off_is_no_limit(ref: SlideRef) -> None:
    limits = task_limits(LimitsConfig(memory_gb="off", minutes="off"), itself, ref)
    assert (limits.memory_bytes, limits.seconds) == (math.inf, math.inf)


def test_what_is_of_no_slide_has_none(ref: SlideRef) -> None:
    limits = task_limits(LimitsConfig(memory_gb=0.1, minutes=1.0), lambda _: None, ref)
    assert (limits.memory_bytes, limits.seconds) == (math.inf, math.inf)


def test_they_travel_to_workers(ref: SlideRef) -> None:
    allow = pickle.loads(pickle.dumps(partial(task_limits, LimitsConfig(), itself)))
    assert allow(ref).seconds > 7200


def config(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "run.toml"
    path.write_text(f'model = "m"\n[limits]\n{text}\n')
    return load_config(path, {})


def test_the_configuration_has_them(tmp_path: Path) -> None:
    limits = config(tmp_path, 'memory_gb = 6\nminutes = "off"').limits
    assert limits == LimitsConfig(memory_gb=6.0, minutes="off")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("memory_gb = 0", r"memory_gb: 0 should be greater than 0 or 'off'"),
        ("minutes = -1", r"minutes: -1 should be greater than 0 or 'off'"),
        ("minutes = inf", r"minutes: inf should be a finite number or 'off'"),
        ("minuets = 3", r"minuets: there is no such key; did you mean limits\.minutes\?"),
    ],
)
def test_limits_that_are_none_are_refused(tmp_path: Path, wrong: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^limits\.{said}$"):
        config(tmp_path, wrong)


@pytest.mark.slow
def test_a_slide_over_its_limit_fails_by_name(
    raypath: Callable[..., Any], demo: Any, tmp_path: Path
) -> None:
    slide = write_slide(tmp_path / "slide.svs", Specimen(seed=1, width=600, height=600))
    config = tmp_path / "run.toml"
    config.write_text("[limits]\nmemory_gb = 0.05\n")  # less than the libraries take
    out = tmp_path / "out"
    said = raypath("run", slide, "-o", out, "--model", demo.model, "--config", config)
    assert said.code == 1
    (record,) = read_records(out / "slides.parquet")
    assert (record.verdict, record.reason) == ("failed", "out_of_memory")
    assert "the limit is 0.05 GiB: raise 'memory_gb'" in record.message
    assert "(tried 2 times)" in record.message
