"""A machine that has nothing of a run at s3://, two slides and a broken one, and a model."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.demo.alignment import write_colour_model
from pipelines.remote import errors, workplace
from tests.pipelines.remote.runs import FIRST, SECOND
from wsi.plan import TileSpec
from wsi.testing import Specimen, write_slide


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides, and a broken one."""
    folder = tmp_path_factory.mktemp("slides")
    for seed, name in ((1, FIRST), (2, SECOND)):
        write_slide(folder / f"{name}.svs", Specimen(seed=seed, width=1100, height=900))
    (folder / "broken.svs").write_bytes(b"II*\0 and no more")
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that embeds and has no head."""
    folder = tmp_path_factory.mktemp("model") / "model"
    write_colour_model(folder, TileSpec(size_px=64, mpp=1.0))
    return folder


@pytest.fixture(autouse=True)
def new_machine(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on the local disk; a server that does not answer is not waited for."""
    workplace._workplace.cache_clear()
    monkeypatch.setattr(errors, "wait_s", lambda kind, tries: 0.0 if tries < 3 else None)
