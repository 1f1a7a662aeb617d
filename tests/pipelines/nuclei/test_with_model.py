"""A model that predicts and a teacher in one run: predictions first, then the nuclei."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from distill.card import TrainingCard
from distill.teachers.postprocess import Thresholds
from distill.teachers.teacher import Teacher, build_net, save_teacher
from pipelines.cli.main import cli
from pipelines.heatmaps.ome_zarr import read_heatmap
from pipelines.nuclei import work
from pipelines.records import read_records
from tests.pipelines.nuclei.blobs import MPP
from wsi.testing import Specimen, write_slide


def test_the_density_is_the_last_channel_of_the_prediction(
    demo: Any, blob_teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.teacher_of.cache_clear()
    monkeypatch.setattr(work, "load_teacher", lambda path, device: blob_teacher)
    save_teacher(
        build_net("mobilenetv3_small_050"),
        tmp_path / "t",
        architecture="mobilenetv3_small_050",
        mpp=MPP,
        thresholds=Thresholds(),
        training=TrainingCard(data="none", data_licence="CC0", method="not trained"),
    )
    slide = write_slide(tmp_path / "s.svs", Specimen(seed=4, width=900, height=900))
    out = tmp_path / "out"
    words = ["run", slide, "-o", out, "--model", demo.model, "--executor", "serial"]
    for more in ([], ["--teacher", tmp_path / "t"], ["--teacher", tmp_path / "t"]):
        result = CliRunner().invoke(cli, [str(word) for word in [*words, *more]])
        assert result.exit_code == 0, result.output
        (record,) = read_records(out / "slides.parquet")
        heatmap = read_heatmap(out / "slides" / "s" / "heatmap.ome.zarr")
        names = [channel.name for channel in heatmap.channels]
        assert names[0].startswith("score:")
        assert ("nuclei_density" in names) == bool(more) == (record.n_nuclei is not None)
    assert record.reused[-2:] == ("predict", "preview")
    assert record.prediction
    looked_at = np.isfinite(heatmap.values[0])
    assert np.isfinite(heatmap.values[-1][looked_at]).all()
