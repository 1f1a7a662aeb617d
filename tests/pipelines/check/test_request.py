"""What can be seen of a request here is checked as a run would, and the rest is named."""

from pathlib import Path
from typing import Any

import pytest

from distill.errors import ModelError
from pipelines.check.request import check_visible
from pipelines.errors import ConfigError, ManifestError, UsageError
from pipelines.output import output_path


def check(here: Path, *, out: str = "/out", config: str | None = None, **flags: Any) -> list[str]:
    return check_visible(
        ["m.csv"], output_path(out), Path(config) if config else None, flags, here=here
    )


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with a manifest that is as it should be."""
    (tmp_path / "m.csv").write_text("path\n1.svs\n2.svs\n")
    return tmp_path


def test_what_is_right_is_let_through(here: Path) -> None:
    (here / "run.toml").write_text("batch_size = 4\n")
    assert check(here, config="run.toml", codec="zstd", also=None, preprocess=[]) == []


def test_a_wrong_flag_is_refused_whatever_else_is_seen(here: Path) -> None:
    with pytest.raises(ConfigError, match="codec"):
        check(here, codec="jpg")
    with pytest.raises(ConfigError, match="codec"):
        check(here, codec="jpg", config="/there/run.toml")
    with pytest.raises(UsageError, match="a folder on a disk"):
        check(here, out="ftp://there/out")


def test_an_unknown_key_is_refused(here: Path) -> None:
    (here / "run.toml").write_text("bath_size = 4\n")
    with pytest.raises(ConfigError, match="bath_size"):
        check(here, config="run.toml")


def test_a_broken_manifest_is_refused(here: Path) -> None:
    (here / "m.csv").write_text("path,slide_id\n1.svs,a\n2.svs,a\n")
    with pytest.raises(ManifestError, match=r"m\.csv"):
        check(here)


def test_a_model_that_is_none_is_refused(here: Path) -> None:
    (here / "m").mkdir()
    with pytest.raises(ModelError):
        check(here, model=Path("m"))


def test_a_stride_that_leaves_gaps_is_refused_where_the_model_is_known(here: Path) -> None:
    with pytest.raises(UsageError, match="stride_px must be in 1-"):
        check(here, stride_px=5000)
    assert check(here, stride_px=5000, config="/there/run.toml") == ["/there/run.toml"]


def test_what_is_not_here_is_named_and_no_fault(here: Path) -> None:
    (here / "m.csv").unlink()
    (here / "run.toml").write_text('model = "/there/model"\n')
    assert check(here, config="run.toml", also=[Path("/there/b")]) == [
        str(here / "m.csv"),
        "/there/model",
        "/there/b",
    ]


def test_a_further_model_may_have_its_first_in_a_configuration_elsewhere(here: Path) -> None:
    assert check(here, config="/there/run.toml", also=[Path("b")]) == ["/there/run.toml"]


def test_a_manifest_behind_a_url_is_not_read(here: Path) -> None:
    url = "s3://bucket/m.csv"
    assert check_visible([url], Path("/out"), None, {}, here=here) == [url]
