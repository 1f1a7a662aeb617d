"""The settings of a run: from a file, from flags, and never half understood."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.errors import ConfigError, UsageError
from pipelines.settings.config import QualityConfig, RunConfig, load_config
from wsi.quality import QualityLimits


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "run.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_model_is_all_it_needs() -> None:
    config = load_config(None, {"model": Path("m")})
    assert config == RunConfig(model=Path("m"))
    assert (config.stride_px, config.executor, config.feature_dtype) == (None, "ray", "float16")


@pytest.mark.parametrize(("device", "tiles"), [("cpu", 8), ("cuda", 32)])
def test_a_batch_is_what_suits_the_device_unless_it_is_given(device: str, tiles: int) -> None:
    assert load_config(None, {"model": Path("m"), "device": device}).batch_size == tiles
    given = {"model": Path("m"), "device": device, "batch_size": 5}
    assert load_config(None, given).batch_size == 5


def test_results_of_a_gpu_are_not_taken_for_those_of_a_cpu() -> None:
    assert load_config(None, {"model": Path("m")}).where == {}
    assert load_config(None, {"model": Path("m"), "device": "cuda"}).where == {"device": "cuda"}


def test_a_device_that_is_none_is_what_the_error_names() -> None:
    with pytest.raises(ConfigError, match=r"^device: 'tpu' should be 'cpu' or 'cuda'$"):
        load_config(None, {"model": Path("m"), "device": "tpu"})


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, 'model = "m"\nbatch_size = 8\nmpp = 0.5\nexecutor = "serial"\n')
    config = load_config(path, {"batch_size": 4, "mpp": None, "workers": 3, "stride_px": None})
    assert config.batch_size == 4
    assert config.mpp == 0.5
    assert config.executor == "serial"
    assert config.workers == 3
    assert config.min_tissue_fraction == RunConfig(model=Path("m")).min_tissue_fraction


def test_a_flag_of_zero_was_given() -> None:
    assert load_config(None, {"model": "m", "min_tissue_fraction": 0.0}).min_tissue_fraction == 0


def test_a_model_in_the_file_is_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    path = write(tmp_path, 'model = "models/a"\n')
    assert load_config(path, {}).model == tmp_path / "models" / "a"
    assert load_config(path, {"model": Path("b")}).model == Path("b")
    assert load_config(write(tmp_path, 'model = "/m"\n'), {}).model == Path("/m")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"mpp": 0.0}, "mpp"),
        ({"mpp": -0.5}, "mpp"),
        ({"mpp": float("nan")}, "mpp"),
        ({"mpp": float("inf")}, "mpp"),
        ({"mpp": "half"}, "mpp"),
        ({"stride_px": 0}, "stride_px"),
        ({"stride_px": 1.5}, "stride_px"),
        ({"min_tissue_fraction": 1.01}, "min_tissue_fraction"),
        ({"min_tissue_fraction": -0.1}, "min_tissue_fraction"),
        ({"quality": {"max_pen": 1.5}}, r"quality\.max_pen"),
        ({"quality": {"min_focus": "sharp"}}, r"quality\.min_focus"),
        ({"quality": {"max_ink": 0.5}}, r"quality\.max_ink"),
        ({"quality": "on"}, "quality"),
        ({"preprocess": ("vahadane",)}, "preprocess"),
        ({"preprocess": "macenko"}, "preprocess"),
        ({"batch_size": 0}, "batch_size"),
        ({"feature_dtype": "float64"}, "feature_dtype"),
        ({"executor": "dask"}, "executor"),
        ({"workers": 0}, "workers"),
        ({"model": 3}, "model"),
    ],
)
def test_a_wrong_setting_is_named(flags: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=f"^{named}: ") as caught:
        load_config(None, {"model": "m"} | flags)
    assert isinstance(caught.value, UsageError)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"mpp": 0.0}, "mpp: 0.0 should be greater than 0"),
        ({"quality": "on"}, "quality: 'on' is neither 'off' nor a table of limits"),
        ({"preprocess": "macenko"}, "preprocess: 'macenko' should be a list"),
        ({"bath_size": 3}, "bath_size: there is no such key; did you mean batch_size?"),
        (
            {"limits": {"minutes": -1}},
            "limits.minutes: -1 should be greater than 0 or 'off'",
        ),
        ({"resources": {"embed": {"cpus": 0}}}, "resources.embed.cpus: 0 should be greater than 0"),
        (
            {"workers": 0, "batch_size": -1},
            "batch_size: -1 should be greater than 0; workers: 0 should be greater than 0",
        ),
    ],
)
def test_it_is_said_what_is_wrong_and_what_would_be_right(flags: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {"model": "m"} | flags)
    assert str(caught.value) == said


def test_a_key_that_is_like_none_is_answered_with_all() -> None:
    with pytest.raises(ConfigError, match=r"^colour: there is no such key") as caught:
        load_config(None, {"model": "m", "colour": "red"})
    for key in [*RunConfig.model_fields, *(f"quality.{k}" for k in QualityConfig.model_fields)]:
        assert key in str(caught.value)


def test_limits_of_quality_are_a_table_and_each_can_be_off(tmp_path: Path) -> None:
    path = write(tmp_path, 'model = "m"\n[quality]\nmax_pen = 0.5\nmin_focus = "off"\n')
    limits = load_config(path, {}).quality.limits
    assert limits == replace(QualityLimits(), max_pen=0.5, min_focus=None)
    none = QualityLimits(max_pen=None, max_dark=None, max_blank=None, min_focus=None)
    assert load_config(path, {"quality": "off"}).quality.limits == none
    assert load_config(None, {"model": "m"}).quality.limits == QualityLimits()


def test_preprocessing_keeps_its_order_and_knows_its_steps(tmp_path: Path) -> None:
    path = write(tmp_path, 'model = "m"\npreprocess = ["macenko", "clahe"]\n')
    assert load_config(path, {}).preprocess == ("macenko", "clahe")
    assert load_config(path, {"preprocess": ["denoise"]}).preprocess == ("denoise",)
    with pytest.raises(ConfigError, match=r"'vahadane'.*macenko, reinhard"):
        load_config(path, {"preprocess": ["vahadane"]})


def test_every_wrong_setting_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, 'model = "m"\nbatch_size = -1\ntile = 3\n')
    with pytest.raises(ConfigError, match=r"batch_size.*tile"):
        load_config(path, {})


def test_without_a_network_it_takes_those_that_come_with_raypath(tmp_path: Path) -> None:
    for path in (None, write(tmp_path, "batch_size = 8\n")):
        config = load_config(path, {"model": None})
        assert config.teacher is not None
        assert config.teacher.name == "default"
        assert config.model == config.teacher
        assert config.segmenter is None


@pytest.mark.parametrize(
    "text", [b"model = ", b"= 1", b"model = '\xff'", b'model = "m"\nmodel = "n"']
)
def test_what_is_no_toml_is_refused_by_name(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ConfigError, match=r"run\.toml"):
        load_config(write(tmp_path, text), {"model": "m"})


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ConfigError, match=str(path)):
            load_config(path, {"model": "m"})


def test_settings_do_not_change_and_can_be_written() -> None:
    config = RunConfig(model=Path("m"), mpp=0.25)
    with pytest.raises(ValidationError):
        config.mpp = 0.5  # type: ignore[misc]
    assert RunConfig.model_validate(config.model_dump(mode="json")) == config
