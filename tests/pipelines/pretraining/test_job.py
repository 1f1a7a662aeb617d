"""What a pretraining is asked for."""

import pytest

from pipelines.pretraining.job import PretrainSettings


@pytest.mark.parametrize(
    ("steps", "asked", "averages"),
    [
        (499, None, None),
        (500, None, 0.999),
        (20, 0.9, 0.9),
        (500, 0.9, 0.9),
        (20, 0.0, None),
        (500, 0.0, None),
    ],
)
def test_an_average_that_is_asked_for_is_kept_however_short_the_training(
    steps: int, asked: float | None, averages: float | None
) -> None:
    settings = PretrainSettings(
        objective="barlow", architecture="resnet18", colour=1.0, steps=steps, average_decay=asked
    )
    assert settings.averages == averages
