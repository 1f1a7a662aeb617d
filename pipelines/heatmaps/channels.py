"""What the numbers of a heatmap mean, and the colours that show them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One quantity of a heatmap, with its legend.

    Attributes
    ----------
    name
        As stored: ``"score:tumour"``, ``"attention"``, ``"attention_percentile"``.
    title, meaning
        For people: a heading, and a sentence that says what the number is and is not.
    low, high
        Values at the ends of the colour scale; beyond them the colour stays.
    low_label, high_label
        What the ends are called in a legend: words, or the number with its words.
    colormap
        A matplotlib colour map.
    scale
        How a value is placed between the ends: ``"linear"``, or ``"logistic"`` for log-odds.
    is_relative
        Whether values only compare tiles of one slide, so that a negative slide lights up too.
    unit
        Of the values, as it follows a number; empty where they have none.
    """

    name: str
    title: str
    meaning: str
    low: float
    high: float
    low_label: str
    high_label: str
    colormap: str
    scale: Literal["linear", "logistic"] = "linear"
    is_relative: bool = False
    unit: str = ""

    def fraction(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Place values on the colour scale, 0-1; NaN stays NaN."""
        return np.asarray(np.clip((self.read(values) - self.low) / (self.high - self.low), 0, 1))

    def read(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """What people read for stored values: a number of 0-1 for log-odds; NaN stays NaN."""
        if self.scale == "linear":
            return values
        return np.asarray(1 / (1 + np.exp(-np.clip(values, -50, 50))))

    def ticks(self) -> dict[float, str]:
        """What stands beside a colour bar at its low end, its middle and its high end.

        Numbers, and at the ends what these are called on a line below.
        """
        middle = (self.low + self.high) / 2
        return {
            self.low: _end(self.low, self.low_label),
            middle: f"{middle:,g}",
            self.high: _end(self.high, self.high_label),
        }

    def as_dict(self) -> dict[str, Any]:
        """The channel as it is stored."""
        return asdict(self)

    def describe(self) -> dict[str, Any]:
        """The channel with the colours of its legend, for a page."""
        return self.as_dict() | {"stops": colour_stops(self)}


def _end(value: float, label: str) -> str:
    """An end's number, and below it the words of its label, which may begin with the number."""
    number = f"{value:,g}"
    words = label.split()
    return "\n".join([number, " ".join(words[words[:1] == [number] :])]).rstrip()


def score_channel(target: str, *, temperature: float | None = None) -> Channel:
    """The tile's own log-odds for one class, as the head would score a slide made of it alone.

    `temperature` is that of a calibrated head, which the log-odds are divided by; None where
    nobody calibrated it.
    """
    calibrated = (
        "not calibrated, so not a probability."
        if temperature is None
        else f"calibrated by the head's temperature, {temperature:.3g}, which was chosen on whole "
        "slides: how often it is right of single tiles is not known."
    )
    return Channel(
        name=f"score:{target}",
        title=f"{target} score of each tile",
        meaning=(
            f"What the model would say of a slide made of this tile alone: 0 not {target}, "
            f"1 {target}. Comparable between slides; {calibrated}"
        ),
        low=0.0,
        high=1.0,
        low_label=f"not {target}",
        high_label=target,
        colormap="RdYlBu_r",
        scale="logistic",
    )


ATTENTION = Channel(
    name="attention",
    title="attention weight",
    meaning=(
        "How much this tile weighs in the slide's score, relative to an even share (1). "
        "The weights of a slide average 1; attention is not a probability of disease."
    ),
    low=0.0,
    high=4.0,
    low_label="0",
    high_label="4 times an even share and more",
    colormap="viridis",
    is_relative=True,
    unit="× an even share",
)

ATTENTION_PERCENTILE = Channel(
    name="attention_percentile",
    title="attention, rank within this slide",
    meaning=(
        "Share of this slide's tiles with less attention. Relative to the slide: a negative "
        "slide lights up too. Attention is not a probability of disease."
    ),
    low=0.0,
    high=100.0,
    low_label="least looked at",
    high_label="most looked at",
    colormap="viridis",
    is_relative=True,
    unit="%",
)


def is_shown_unasked(channel: Channel, prediction: Mapping[str, Any]) -> bool:
    """Whether a picture draws a channel that nobody asked for.

    Not where it only compares tiles of a slide that was called negative: it lights up all the
    same. `prediction` is what `prediction.json` holds; without one everything is drawn.
    """
    positive = prediction.get("positive")  # None where no class is
    is_negative = positive not in (None, prediction.get("prediction"))
    return not (channel.is_relative and is_negative)


def colourise(values: NDArray[np.floating], channel: Channel) -> NDArray[np.uint8]:
    """Colour an (H, W) map: (H, W, 4) uint8 RGBA, fully transparent where the map is NaN."""
    import matplotlib

    looked_at = np.isfinite(values)
    fraction = channel.fraction(np.where(looked_at, values, 0.0))
    rgba = np.asarray(matplotlib.colormaps[channel.colormap](fraction, bytes=True))
    return np.where(looked_at[..., None], rgba, 0).astype(np.uint8)


def colour_stops(channel: Channel, count: int = 17) -> list[str]:
    """Colours along the scale from low to high as ``#rrggbb``, for a legend."""
    import matplotlib

    rgba = matplotlib.colormaps[channel.colormap](np.linspace(0, 1, count), bytes=True)
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b, _ in rgba.tolist()]
