"""The benchmark of embedding, as small as it gets."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distill.precision import has_fast_bfloat16
from pipelines.cli.main import cli
from wsi.testing import Specimen, write_slide


@pytest.mark.slow
def test_a_slide_is_embedded_beside_the_bare_network(tmp_path: Path) -> None:
    slide = write_slide(tmp_path / "s.svs", Specimen(seed=2, width=700, height=600))
    words = ["benchmark", "embedding", str(slide), "--runs", "1", "--tile-px", "64", "--no-peers"]
    words += ["--architecture", "mobilenetv3_small_050", "--folder", str(tmp_path)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert done.output.count("over bare network at least 0.9, measured") == 1
    half = done.output.count("over bare network, bfloat16 at least 0.9, measured")
    assert half == has_fast_bfloat16()
    assert half != ("no bfloat16: this processor has none" in done.output)
    # Both embedded the same tiles, and the run of the slide no other.
    assert len(set(re.findall(r"\((\d+) tiles", done.output))) == 1
    assert "LazySlide" not in done.output.split("not measured")[0]
