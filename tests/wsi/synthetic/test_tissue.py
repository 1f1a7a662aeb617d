"""A made-up specimen: the same pixels through every window, and a truth that fits them."""

import pickle

import numpy as np
import pytest

from wsi.synthetic.layout import lay_out
from wsi.synthetic.noise import smooth, uniform
from wsi.synthetic.specimen import Specimen, Stain
from wsi.synthetic.tissue import BLOCK, Rendering, render, tissue_mask, tumour_mask

SPECIMEN = Specimen(seed=1, width=1100, height=1000, tumour=True, pen=True, blur=True)


@pytest.fixture(scope="module")
def whole() -> Rendering:
    return render(SPECIMEN, x=0, y=0, width=SPECIMEN.width, height=SPECIMEN.height)


@pytest.mark.parametrize(
    ("x", "y", "width", "height"),
    [(0, 0, 300, 300), (255, 511, 2, 2), (400, 300, 333, 257), (1000, 900, 100, 100)],
)
def test_the_same_pixels_through_every_window(
    whole: Rendering, x: int, y: int, width: int, height: int
) -> None:
    part = render(SPECIMEN, x=x, y=y, width=width, height=height)
    here = np.s_[y : y + height, x : x + width]
    for name in ("rgb", "nuclei", "tumour", "tissue"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[here])


def test_outside_the_specimen_is_empty_glass() -> None:
    part = render(SPECIMEN, x=-20, y=980, width=30, height=40)
    assert (part.rgb[20:] == SPECIMEN.staining.white).all()
    assert (part.rgb[:, :20] == SPECIMEN.staining.white).all()
    assert not part.tissue[20:].any()


def test_blocks_join_without_a_seam() -> None:
    plain = Specimen(seed=1, width=1100, height=1000, tumour=True)
    rgb = render(plain, x=0, y=0, width=1100, height=1000).rgb.astype(float)
    steps = np.abs(np.diff(rgb, axis=1)).mean(axis=(0, 2))
    joints = steps[BLOCK - 1 :: BLOCK]
    others = np.delete(steps, np.arange(BLOCK - 1, len(steps), BLOCK))
    assert joints.mean() < 1.15 * others.mean()


def test_nuclei_keep_their_label_and_shape_across_blocks(whole: Rendering) -> None:
    kept, seen = {True: 0, False: 0}, {True: 0, False: 0}
    for labels in (whole.nuclei, whole.nuclei.T):
        left, right = labels[:, :-1], labels[:, 1:]
        joint = np.arange(1, labels.shape[1]) % BLOCK == 0
        for where in (True, False):
            here = joint == where
            seen[where] += int(((left > 0) | (right > 0))[:, here].sum())
            kept[where] += int(((left == right) & (left > 0))[:, here].sum())
    assert seen[True] > 200
    assert kept[True] / seen[True] > kept[False] / seen[False] - 0.06  # as between any two


def test_nuclei_are_of_a_nucleus_size_and_dark(whole: Rendering) -> None:
    _, area_px = np.unique(whole.nuclei[whole.nuclei > 0], return_counts=True)
    diameter_um = 2 * np.sqrt(area_px / np.pi) * SPECIMEN.mpp
    assert 4 < np.median(diameter_um) < 10
    assert diameter_um.max() < 22
    sharp = Specimen(seed=1, width=1100, height=1000, tumour=True)
    red = render(sharp, x=0, y=0, width=1100, height=1000).rgb[..., 0]
    nucleus = whole.nuclei > 0
    assert red[nucleus].mean() < red[whole.tissue & ~nucleus].mean() - 40


@pytest.mark.parametrize("downsample", [4, 16])
def test_masks_agree_with_the_rendering(whole: Rendering, downsample: int) -> None:
    rows, cols = SPECIMEN.height // downsample, SPECIMEN.width // downsample
    middle = downsample // 2
    for mask, rendered in (
        (tissue_mask(SPECIMEN, downsample=downsample), whole.tissue),
        (tumour_mask(SPECIMEN, downsample=downsample), whole.tumour),
    ):
        assert mask.shape == (rows, cols)
        seen = rendered[middle::downsample, middle::downsample][:rows, :cols]
        assert (mask == seen).mean() > 0.98
        assert (mask & seen).sum() > 0.95 * (mask | seen).sum()


@pytest.mark.parametrize("seed", range(6))
def test_tumour_is_a_plausible_part_of_the_tissue(seed: int) -> None:
    specimen = Specimen(seed=seed, width=3000, height=2800, tumour=True, pen=True)
    tumour, tissue = (mask(specimen, downsample=16) for mask in (tumour_mask, tissue_mask))
    assert 0.10 < tumour.sum() / tissue.sum() < 0.35
    assert 0.3 < tissue.mean() < 0.7
    layout = lay_out(specimen)
    inked = layout.pen > 0
    assert 0.2 < (layout.tissue[inked] > 0).mean() < 0.9


def test_no_tumour_without_tumour() -> None:
    specimen = Specimen(seed=1, width=1100, height=1000)
    assert not tumour_mask(specimen, downsample=8).any()
    assert not render(specimen, x=300, y=300, width=300, height=300).tumour.any()


def test_labels_are_unique_among_kinds_of_nuclei(whole: Rendering) -> None:
    rows, cols = np.nonzero(whole.nuclei)
    labels = whole.nuclei[rows, cols]
    for place in (rows, cols):
        low, high = np.full(labels.max() + 1, 9999), np.zeros(labels.max() + 1, int)
        np.minimum.at(low, labels, place)
        np.maximum.at(high, labels, place)
        assert (high - low)[np.unique(labels)].max() < 50  # one place each


def test_seeds_and_stains_change_the_slide_and_nothing_else_does() -> None:
    other = Specimen(seed=2, width=1100, height=1000, tumour=True)
    assert Stain.vary(1) != Stain.vary(2)
    assert Stain.vary(1) == Stain.vary(1)
    area = {"x": 300, "y": 300, "width": 256, "height": 256}
    assert (render(other, **area).rgb != render(SPECIMEN, **area).rgb).mean() > 0.5
    copy = pickle.loads(pickle.dumps(SPECIMEN))
    np.testing.assert_array_equal(render(copy, **area).rgb, render(SPECIMEN, **area).rgb)
    dyed = Specimen(seed=2, width=1100, height=1000, tumour=True, stain=Stain.vary(9))
    np.testing.assert_array_equal(render(dyed, **area).nuclei, render(other, **area).nuclei)
    assert (render(dyed, **area).rgb != render(other, **area).rgb).any()


@pytest.mark.parametrize("mpp", [0.25, 1.0])
def test_resolution_scales_what_is_seen(mpp: float) -> None:
    side = round(500 / mpp)
    specimen = Specimen(seed=5, width=side, height=side, mpp=mpp, tumour=True, blur=True)
    labels = render(specimen, x=0, y=0, width=side, height=side).nuclei
    _, area_px = np.unique(labels[labels > 0], return_counts=True)
    assert 4 < np.median(2 * np.sqrt(area_px / np.pi) * mpp) < 10


def test_refuses_a_specimen_without_extent() -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Specimen(seed=0, width=0, height=10)


def test_noise_depends_on_the_place_alone() -> None:
    wide = smooth(3, x=-40, y=0, width=200, height=50, step=7.3)
    part = smooth(3, x=10, y=20, width=30, height=10, step=7.3)
    np.testing.assert_allclose(wide[20:30, 50:80], part, atol=1e-4)
    values = uniform(1, np.arange(100_000))
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.01
    assert np.abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.02
