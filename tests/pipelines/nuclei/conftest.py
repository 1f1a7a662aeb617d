"""A teacher made by hand."""

import pytest

from distill.teachers.postprocess import Thresholds
from distill.teachers.teacher import Teacher
from tests.pipelines.nuclei.blobs import MPP, DarkBlobs


@pytest.fixture(scope="session")
def blob_teacher() -> Teacher:
    """What `DarkBlobs` sees, at 0.25 µm per pixel."""
    return Teacher(net=DarkBlobs(), mpp=MPP, thresholds=Thresholds(), sha256="0" * 64)  # type: ignore[arg-type]
