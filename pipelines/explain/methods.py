"""The methods that a tile is explained by, and what each of their maps means."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from distill.encoders import Encoder
from distill.explain.baselines import blurred, mean_colour, white
from distill.explain.gradcam import grad_cam
from distill.explain.integrated import integrated_gradients
from distill.explain.occlusion import occlusion
from distill.explain.saliency import saliency, smooth_grad
from pipelines.explain.score import TileScore

WINDOW_SHARE = 1 / 8  # edge of the occluded window by edge of the tile: 16 to 32 pixels
NOISY_COPIES = 25
STEPS = 50  # of integrated gradients


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One tile as a network takes it: normalised (1, 3, S, S), and its stand-ins."""

    x: Tensor
    glass: Tensor
    mean: Tensor
    soft: Tensor

    @classmethod
    def of(cls, x: Tensor, encoder: Encoder) -> "Input":
        """Make the stand-ins of a tile."""
        x = x.contiguous()
        glass = white(x, mean=encoder.mean, std=encoder.std)
        return cls(x=x, glass=glass, mean=mean_colour(x), soft=blurred(x))

    @property
    def window_px(self) -> int:
        """Edge of the window that occlusion hides."""
        return max(1, round(self.x.shape[-1] * WINDOW_SHARE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to explain a score.

    Attributes
    ----------
    name
        As stored.
    title, meaning
        For people: a heading, and what a strong colour says, in one line.
    is_signed
        Whether the map also shows what speaks against the class.
    needs_feature_maps
        Whether the encoder must average feature maps.
    compute
        The map, (1, S, S).
    """

    name: str
    title: str
    meaning: str
    is_signed: bool
    compute: Callable[[TileScore, Input], Tensor]
    needs_feature_maps: bool = False


def _occlude(score: TileScore, tile: Input, stand_in: Tensor) -> Tensor:
    return occlusion(score, tile.x, stand_in, window_px=tile.window_px)


METHODS = (
    Method(
        name="occlusion_white",
        title="Hidden by glass",
        meaning="how far the score falls when this spot turns white",
        is_signed=True,
        compute=lambda score, tile: _occlude(score, tile, tile.glass),
    ),
    Method(
        name="occlusion_mean",
        title="Hidden by mean colour",
        meaning="… when it takes the tile's mean colour",
        is_signed=True,
        compute=lambda score, tile: _occlude(score, tile, tile.mean),
    ),
    Method(
        name="occlusion_blurred",
        title="Hidden by blur",
        meaning="… when it loses its detail and keeps its colour",
        is_signed=True,
        compute=lambda score, tile: _occlude(score, tile, tile.soft),
    ),
    Method(
        name="grad_cam",
        title="Grad-CAM",
        meaning="cells of the averaged feature maps that raise the score",
        is_signed=False,
        compute=lambda score, tile: grad_cam(score.features, score.of_features, tile.x),
        needs_feature_maps=True,
    ),
    Method(
        name="saliency",
        title="Gradient",
        meaning="pixels whose change moves the score most, up or down",
        is_signed=False,
        compute=lambda score, tile: saliency(score, tile.x),
    ),
    Method(
        name="smooth_grad",
        title="SmoothGrad",
        meaning=f"the gradient's mean over {NOISY_COPIES} noisy copies",
        is_signed=False,
        compute=lambda score, tile: smooth_grad(score, tile.x, samples=NOISY_COPIES),
    ),
    Method(
        name="integrated_gradients",
        title="Integrated gradients",
        meaning="what pixels add to the score on the way from glass",
        is_signed=True,
        compute=lambda score, tile: integrated_gradients(score, tile.x, tile.glass, steps=STEPS),
    ),
)
