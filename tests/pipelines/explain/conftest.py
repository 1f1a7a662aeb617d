"""The teacher made by hand, also here."""

from tests.pipelines.nuclei.conftest import blob_teacher  # noqa: F401
