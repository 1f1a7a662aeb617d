"""Every method points at the corner that the score is made of, and has the size it should."""

import pytest
import timm
import torch
from torch import Tensor, nn

from distill.card import Features
from distill.encoders import create_encoder
from distill.explain.baselines import blurred, mean_colour, white
from distill.explain.gradcam import grad_cam
from distill.explain.integrated import completeness_gap, integrated_gradients
from distill.explain.occlusion import occlusion
from distill.explain.saliency import saliency, smooth_grad
from distill.explain.score import gradient
from distill.pooling import PooledFeatures
from wsi.plan import TileSpec


@pytest.fixture(scope="module")
def captum() -> object:
    """The oracle; without it our own closed forms are the only check."""
    return pytest.importorskip("captum.attr", reason="captum is not installed")


def test_the_gradient_is_each_images_own(corner) -> None:
    slope = gradient(corner.score, corner.x)
    pixels = int(corner.inside.sum())
    for channel, weight in enumerate(corner.weights):
        assert torch.allclose(slope[:, channel, corner.inside], torch.tensor(weight / pixels))
    assert not slope[:, :, ~corner.inside].any()
    assert not corner.x.requires_grad


def test_it_works_where_gradients_are_switched_off(corner) -> None:
    with torch.no_grad():
        assert gradient(corner.score, corner.x).any()


def test_saliency_is_the_greatest_slope_of_a_pixel(corner) -> None:
    expected = corner.inside * max(map(abs, corner.weights)) / corner.inside.sum()
    assert torch.allclose(saliency(corner.score, corner.x), expected.float())


def test_smooth_grad_of_a_linear_score_is_its_saliency(corner) -> None:
    smooth = smooth_grad(corner.score, corner.x, samples=3)
    assert torch.allclose(smooth, saliency(corner.score, corner.x))
    bent = smooth_grad(corner.bent, corner.x, samples=5, seed=1)
    assert torch.equal(bent, smooth_grad(corner.bent, corner.x, samples=5, seed=1))
    assert not torch.equal(bent, smooth_grad(corner.bent, corner.x, samples=5, seed=2))
    with pytest.raises(ValueError, match="samples = 0"):
        smooth_grad(corner.score, corner.x, samples=0)


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_occlusion_of_a_linear_score_is_what_lies_in_the_window(corner, batch_size: int) -> None:
    """By hand: a window of one pixel takes away that pixel's part of the mean."""
    baseline = torch.zeros_like(corner.x)
    maps = occlusion(corner.score, corner.x, baseline, window_px=1, batch_size=batch_size)
    weighed = torch.einsum("bchw,c->bhw", corner.x, corner.x.new_tensor(corner.weights))
    assert torch.allclose(maps, weighed * corner.inside / corner.inside.sum(), atol=1e-6)


@pytest.mark.parametrize(("window_px", "stride_px"), [(8, None), (7, 3), (10, 10), (32, 5)])
def test_occlusion_averages_over_the_windows_on_a_pixel(
    corner, window_px: int, stride_px: int | None
) -> None:
    """Against the definition, window by window and pixel by pixel."""
    baseline = white(corner.x, mean=(0.1, 0.2, 0.3), std=(1.0, 2.0, 3.0))
    maps = occlusion(
        corner.bent, corner.x, baseline, window_px=window_px, stride_px=stride_px, batch_size=5
    )
    step, last = stride_px or window_px // 2, corner.x.shape[2] - window_px
    starts = sorted({*range(0, last, step), last})
    total, count = torch.zeros_like(maps), torch.zeros(maps.shape[1:])
    for top in starts:
        for left in starts:
            hidden = corner.x.clone()
            box = (slice(top, top + window_px), slice(left, left + window_px))
            hidden[:, :, *box] = baseline[:, :, *box]
            total[:, *box] += (corner.bent(corner.x) - corner.bent(hidden))[:, None, None]
            count[box] += 1
    assert (count > 0).all()
    assert torch.allclose(maps, total / count, atol=1e-5)


@pytest.mark.parametrize(("window_px", "stride_px"), [(33, 1), (8, 9), (8, 0), (0, 1)])
def test_windows_that_do_not_fit_are_refused(corner, window_px: int, stride_px: int) -> None:
    with pytest.raises(ValueError, match=f"window_px = {window_px}"):
        occlusion(corner.score, corner.x, corner.x, window_px=window_px, stride_px=stride_px)


def test_integrated_gradients_of_a_linear_score_are_exact(corner) -> None:
    baseline = mean_colour(corner.x)
    maps = integrated_gradients(corner.score, corner.x, baseline, steps=1)
    weighed = torch.einsum("bchw,c->bhw", corner.x - baseline, corner.x.new_tensor(corner.weights))
    assert torch.allclose(maps, weighed * corner.inside / corner.inside.sum(), atol=1e-6)
    with pytest.raises(ValueError, match="steps = 0"):
        integrated_gradients(corner.score, corner.x, baseline, steps=0)


def test_integrated_gradients_are_complete(corner) -> None:
    """Their sum is the score's difference, the better the more steps; a halved map is not."""
    baseline = torch.zeros_like(corner.x)
    few, many = (
        integrated_gradients(corner.bent, corner.x, baseline, steps=steps) for steps in (2, 50)
    )
    gaps = [completeness_gap(corner.bent, corner.x, baseline, maps).abs() for maps in (few, many)]
    assert (gaps[1] < 1e-3 * corner.bent(corner.x)).all()
    assert (gaps[1] < gaps[0]).all()
    assert (completeness_gap(corner.bent, corner.x, baseline, many / 2).abs() > 0.5).all()


@pytest.mark.parametrize("make", [mean_colour, blurred], ids=["mean", "blurred"])
def test_every_method_points_at_the_corner(corner, make) -> None:
    """Nine tenths of what a map says lies in the corner that alone makes the score.

    The corner is bright against the rest, so that hiding it by any baseline lowers the score.
    """
    x = corner.x * corner.inside
    window = {"window_px": 4}
    maps = {
        "occlusion": occlusion(corner.bent, x, make(x), **window),
        "integrated": integrated_gradients(corner.bent, x, make(x)),
        "saliency": saliency(corner.bent, x),
        "smooth": smooth_grad(corner.bent, x),
    }
    for name, signed in maps.items():
        positive = signed.clamp(min=0)
        share = positive[:, corner.inside].sum(1) / positive.sum((1, 2))
        least = 0.75 if name == "occlusion" else 0.9  # windows reach over the corner's edge
        assert (share > least).all(), name


class GapLinear(nn.Module):
    """Global average pooling and a linear layer over a small timm network."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.encoder = PooledFeatures(
            timm.create_model("resnet10t", pretrained=False, num_classes=0)
        ).eval()
        self.linear = nn.Linear(512, 1)
        nn.init.uniform_(self.linear.weight, -0.5, 1.0)

    def of_features(self, features: Tensor) -> Tensor:
        return self.linear(self.encoder.pool(features))[:, 0]

    def forward(self, x: Tensor) -> Tensor:
        return self.of_features(self.encoder.features(x))


def test_grad_cam_is_cam_for_average_pooling_and_a_linear_layer() -> None:
    """Zhou et al. 2016: the map is the features weighed by the linear layer, over their cells."""
    net = GapLinear()
    x = torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(4))
    maps = grad_cam(net.encoder.features, net.of_features, x)
    with torch.no_grad():
        features = net.encoder.features(x)
        cam = torch.einsum("bkhw,k->bhw", features, net.linear.weight[0]).relu()
    cells = features.shape[2] * features.shape[3]
    expected = nn.functional.interpolate(cam[:, None] / cells, (96, 64), mode="bilinear")[:, 0]
    assert maps.shape == (2, 96, 64)
    assert cam.any()
    assert torch.allclose(maps, expected, atol=1e-6)


@pytest.mark.parametrize("features", ["last", "stages"])
@pytest.mark.parametrize("architecture", ["csat", "mobilenetv3_small_050", "regnetx_002"])
def test_grad_cam_takes_any_convolutional_encoder(architecture: str, features: Features) -> None:
    spec = TileSpec(size_px=64, mpp=0.5)
    encoder = create_encoder(architecture, spec=spec, features=features)
    module = encoder.module
    assert isinstance(module, PooledFeatures)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    maps = grad_cam(module.features, lambda features: module.pool(features).sum(1), x)
    assert maps.shape == (1, 64, 64)
    assert torch.isfinite(maps).all()
    assert torch.allclose(module(x), module.pool(module.features(x)))


def test_grad_cam_refuses_features_without_a_place() -> None:
    encoder = create_encoder("vit_tiny_patch16_224", spec=TileSpec(size_px=32, mpp=0.5))
    module = encoder.module
    assert isinstance(module, PooledFeatures)
    with pytest.raises(ValueError, match="take occlusion"):
        grad_cam(module.features, lambda f: module.pool(f).sum(1), torch.zeros(1, 3, 32, 32))


def test_baselines_are_what_they_say(corner) -> None:
    glass = white(corner.x, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3))
    assert glass[0, :, 0, 0].tolist() == pytest.approx([5.0, 3.0, 0.7 / 0.3])
    assert glass.shape == corner.x.shape
    assert torch.allclose(mean_colour(corner.x)[1, 2], corner.x[1, 2].mean())
    soft = blurred(corner.x)
    assert (soft.std((2, 3)) < 0.5 * corner.x.std((2, 3))).all()
    assert torch.allclose(soft.mean((2, 3)), corner.x.mean((2, 3)), atol=0.05)


@pytest.mark.filterwarnings("ignore:Input Tensor 0 did not already:UserWarning")
def test_captum_says_the_same(captum, corner) -> None:
    """Gradients, integrated gradients, occlusion and Grad-CAM of another hand."""
    x, baseline = corner.x, mean_colour(corner.x).contiguous()
    by_hand = saliency(corner.bent, x)
    theirs = captum.Saliency(corner.bent).attribute(x).abs().amax(1)
    assert torch.allclose(by_hand, theirs, atol=1e-6)
    ours = integrated_gradients(corner.bent, x, baseline)
    theirs = captum.IntegratedGradients(corner.bent).attribute(
        x, baseline, n_steps=50, method="riemann_middle"
    )
    assert torch.allclose(ours, theirs.sum(1).float(), atol=1e-5)
    ours = occlusion(corner.bent, x, baseline, window_px=8, stride_px=4)
    theirs = captum.Occlusion(corner.bent).attribute(
        x, sliding_window_shapes=(3, 8, 8), strides=(3, 4, 4), baselines=baseline
    )
    assert torch.allclose(ours, theirs[:, 0].float(), atol=1e-5)
    net = GapLinear()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    ours = grad_cam(net.encoder.features, net.of_features, x)
    cam = captum.LayerGradCam(net, net.encoder.backbone.layer4).attribute(x, relu_attributions=True)
    theirs = nn.functional.interpolate(cam, (64, 64), mode="bilinear")[:, 0]
    assert torch.allclose(ours, theirs, atol=1e-6)
