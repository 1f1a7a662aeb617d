"""What the numbers of a heatmap mean, and that the colours say it."""

import re

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.heatmaps.channels import (
    ATTENTION,
    ATTENTION_PERCENTILE,
    Channel,
    colour_stops,
    colourise,
    is_shown_unasked,
    score_channel,
)
from pipelines.nuclei.density import DENSITY

SCORE = score_channel("tumour")
CHANNELS = (SCORE, ATTENTION, ATTENTION_PERCENTILE)
every_channel = pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)


def placed(channel: Channel, value: float) -> float:
    return float(channel.fraction(np.array([value]))[0])


def test_a_score_is_placed_by_its_probability() -> None:
    assert placed(SCORE, 0.0) == 0.5
    assert placed(SCORE, np.log(3)) == pytest.approx(0.75)
    assert placed(SCORE, -np.log(3)) == pytest.approx(0.25)
    assert placed(SCORE, 1e6) == pytest.approx(1)
    assert placed(SCORE, -1e6) == pytest.approx(0)


def test_attention_is_placed_linearly_and_stays_at_the_ends() -> None:
    assert [placed(ATTENTION, v) for v in (-1, 0, 1, 4, 9)] == [0, 0, 0.25, 1, 1]
    assert [placed(ATTENTION_PERCENTILE, v) for v in (0, 50, 100)] == [0, 0.5, 1]


@every_channel
@given(one=st.floats(-1e9, 1e9), other=st.floats(-1e9, 1e9))
def test_larger_values_never_lie_lower(channel: Channel, one: float, other: float) -> None:
    low, high = sorted([one, other])
    assert 0 <= placed(channel, low) <= placed(channel, high) <= 1


@every_channel
def test_where_nobody_looked_nothing_is_shown(channel: Channel) -> None:
    values = np.full((3, 5), 0.5, np.float32)
    values[1, 2], values[0, 0] = np.nan, np.inf
    rgba = colourise(values, channel)
    assert rgba.shape == (3, 5, 4)
    assert rgba.dtype == np.uint8
    for at in ((1, 2), (0, 0)):
        assert not rgba[at].any()
        values[at] = 0.5
    assert (colourise(values, channel)[..., 3] == 255).all()
    assert np.isnan(placed(channel, np.nan))


@every_channel
def test_a_map_of_nothing_is_transparent(channel: Channel) -> None:
    assert not colourise(np.full((2, 2), np.nan, np.float32), channel).any()
    assert colourise(np.zeros((0, 4), np.float32), channel).shape == (0, 4, 4)


@every_channel
def test_the_legend_has_the_colours_of_the_picture(channel: Channel) -> None:
    stops = colour_stops(channel, 5)
    assert len(stops) == 5
    assert all(re.fullmatch("#[0-9a-f]{6}", stop) for stop in stops)
    ends = np.array([[-1e6, 1e6]])
    shown = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b, _ in colourise(ends, channel)[0].tolist()]
    assert shown == [stops[0], stops[-1]]
    assert stops[0] == matplotlib.colors.to_hex(matplotlib.colormaps[channel.colormap](0.0))


def test_a_high_score_is_red_and_a_low_one_blue() -> None:
    (low, high) = colourise(np.array([[-9.0, 9.0]]), SCORE)[0].astype(int)
    assert low[2] > low[0] + 50
    assert high[0] > high[2] + 50


@every_channel
def test_a_channel_travels_as_a_dictionary(channel: Channel) -> None:
    assert Channel(**channel.as_dict()) == channel


@every_channel
def test_what_lights_up_on_a_negative_slide_is_not_shown_unasked(channel: Channel) -> None:
    negative = {"prediction": "normal", "positive": "tumour"}
    assert is_shown_unasked(channel, negative) == (not channel.is_relative)
    grade = {"prediction": "grade 2", "positive": None}
    for said in ({"prediction": "tumour", "positive": "tumour"}, grade, {}):
        assert is_shown_unasked(channel, said)


def test_only_attention_is_relative_to_its_slide() -> None:
    assert [channel.is_relative for channel in CHANNELS] == [False, True, True]
    assert "tumour" in SCORE.title
    assert (SCORE.low_label, SCORE.high_label) == ("not tumour", "tumour")


@pytest.mark.parametrize(
    ("channel", "ticks"),
    [
        (SCORE, {0: "0\nnot tumour", 0.5: "0.5", 1: "1\ntumour"}),
        (ATTENTION, {0: "0", 2: "2", 4: "4\ntimes an even share and more"}),
        (ATTENTION_PERCENTILE, {0: "0\nleast looked at", 50: "50", 100: "100\nmost looked at"}),
        (DENSITY, {0: "0", 5000: "5,000", 10000: "10,000\nnuclei/mm² and more"}),
        (score_channel("1st grade"), {0: "0\nnot 1st grade", 0.5: "0.5", 1: "1\n1st grade"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_each_number_beside_a_colour_bar_is_said_once(
    channel: Channel, ticks: dict[float, str]
) -> None:
    assert channel.ticks() == ticks
