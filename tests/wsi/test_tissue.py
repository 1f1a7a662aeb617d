"""Tissue is found where it is, and what cannot be judged is said."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wsi.errors import MaskError
from wsi.open import open_slide
from wsi.overview import Overview, read_overview
from wsi.slide import Pixels
from wsi.testing import Specimen, render, write_slide
from wsi.tissue import Tissue, find_tissue, load_mask, overview_downsample


def detect(path: Path, *, mpp: float) -> Tissue:
    with open_slide(path) as slide:
        downsample = overview_downsample(slide.dimensions, level0_mpp=mpp)
        return find_tissue(read_overview(slide, downsample=downsample), level0_mpp=mpp)


def on_mask(plane: np.ndarray[Any, Any], tissue: Tissue) -> np.ndarray[Any, Any]:
    """A level-0 plane at the centres of a mask's pixels, as far as both go."""
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * tissue.downsample).astype(int), size - 1)
        for n, size in zip(tissue.mask.shape, plane.shape, strict=True)
    )
    return plane[np.ix_(rows, columns)]


def flat(colour: tuple[int, int, int], height: int = 60, width: int = 80) -> Overview:
    return Overview(pixels=np.full((height, width, 3), colour, np.uint8), downsample=8.0)


@pytest.mark.parametrize("seed", [5, 8])
def test_it_finds_the_tissue_of_a_made_up_slide(seed: int, tmp_path: Path) -> None:
    specimen = Specimen(seed=seed, width=1300, height=1100, tumour=seed == 8)
    tissue = detect(write_slide(tmp_path / "slide.svs", specimen), mpp=0.5)
    truth = on_mask(render(specimen, x=0, y=0, width=1300, height=1100).tissue, tissue)
    assert tissue.flags == ()
    assert (tissue.mask & truth).sum() / (tissue.mask | truth).sum() > 0.85


def test_ink_is_left_out_and_said(synthetic: Any) -> None:
    tissue = detect(synthetic.path, mpp=0.5)
    size: dict[str, int] = {"x": 0, "y": 0, "width": 1500, "height": 1301}
    marked = render(synthetic.specimen, **size)
    clean = render(
        Specimen(seed=synthetic.specimen.seed, width=size["width"], height=size["height"]), **size
    )
    change = np.abs(marked.rgb.astype(int) - clean.rgb).sum(axis=2)
    ink = on_mask(change > 100, tissue)
    truth = on_mask(marked.tissue, tissue)
    assert ink.mean() > 0.01
    assert tissue.flags == ("pen_marks",)
    assert tissue.mask[ink].mean() < 0.05
    assert tissue.mask[truth & ~ink].mean() > 0.8
    assert tissue.mask[~truth & ~ink].mean() < 0.05


@pytest.mark.parametrize("colour", [(255, 255, 255), (242, 242, 240), (200, 200, 200)])
def test_glass_is_blank(colour: tuple[int, int, int]) -> None:
    tissue = find_tissue(flat(colour), level0_mpp=1.0)
    assert not tissue.mask.any()
    assert tissue.flags == ("blank",)


def test_a_slide_full_of_tissue_is_not_split_in_two() -> None:
    tissue = find_tissue(flat((200, 120, 170)), level0_mpp=1.0)
    assert tissue.mask.all()
    assert tissue.flags == ()


def test_fluorescence_is_said_and_not_called_tissue(shared_data: Path) -> None:
    tissue = detect(shared_data / "slides" / "test3-DAPI-2-(387).ndpi", mpp=0.228)
    assert tissue.flags == ("fluorescence",)
    assert not tissue.mask.any()


def test_a_real_section_is_found(shared_data: Path) -> None:
    tissue = detect(shared_data / "slides" / "CMU-1-Small-Region.svs", mpp=0.499)
    assert 0.2 < tissue.mask.mean() < 0.6


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    level0_mpp=st.floats(0.05, 20),
    downsample=st.floats(1, 64),
    seed=st.integers(0, 99),
    levels=st.integers(1, 256),
)
def test_any_picture_has_a_mask_of_its_shape(
    height: int, width: int, level0_mpp: float, downsample: float, seed: int, levels: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(256 - levels, 256, (height, width, 3), dtype=np.uint8)
    unreadable = rng.random((height, width)) < rng.choice([0, 0.3, 1])
    seen = Overview(
        pixels=pixels, downsample=downsample, unreadable=unreadable if unreadable.any() else None
    )
    tissue = find_tissue(seen, level0_mpp=max(level0_mpp, 1 / downsample))
    assert tissue.mask.shape == (height, width)
    assert tissue.mask.dtype == np.bool_
    assert tissue.downsample == downsample
    if not tissue.mask.any():
        assert tissue.flags


def test_unreadable_pixels_count_as_what_is_beside_them() -> None:
    pixels = np.full((100, 200, 3), 240, np.uint8)
    pixels[:, :100] = (200, 120, 170)
    unreadable = np.zeros((100, 200), np.bool_)
    unreadable[40:60, 20:60] = unreadable[40:60, 140:180] = True
    pixels[unreadable] = 255
    seen = Overview(pixels=pixels, downsample=8.0, unreadable=unreadable)
    mask = find_tissue(seen, level0_mpp=1.0).mask
    assert mask[40:60, 20:60].mean() > 0.9
    assert not mask[40:60, 140:180].any()


def test_a_slide_of_which_nothing_decodes_is_not_called_blank() -> None:
    pixels = np.full((100, 200, 3), 255, np.uint8)
    unreadable = np.ones((100, 200), np.bool_)
    seen = Overview(pixels=pixels, downsample=8.0, unreadable=unreadable)
    tissue = find_tissue(seen, level0_mpp=1.0)
    assert tissue.mask.all()
    assert tissue.flags == ()


# What the names of the files say is in them. Their resolution is not known: tissue is told from
# glass at 2 µm a pixel as at 8.
BLANK = ["almost-white-1", "almost-white-ihc", "no-tissue", "liver-level2-38626-13514-39426-14315"]
NEARLY_BLANK = ["almost-white-2", "no-tissue2", "no-tissue-line", "no-tissue-green-pen"]
TISSUE = [
    "high-nuclei-score-level0",
    "medium-nuclei-score-level0",
    "medium-nuclei-score-level1-2",
    "medium-nuclei-score-level2",
    "very-low-nuclei-score-level0",
    "tissue-level0-7352-11762-7864-12274",
    "tissue-level2-1784-6289-5880-10386",
    "tissue-level2-4640-4649-8736-8746",
    "liver-level2-57138-8209-57938-9009",
    "tissue-level0-4302-10273-4814-10785",
    "kidney-ihc-level0-350-530-360-540",
]


def real_tile(shared_data: Path, name: str, mpp: float) -> Tissue:
    with Image.open(shared_data / "pen_and_tissue" / f"tiles__{name}.png") as image:
        pixels: Pixels = np.asarray(image.convert("RGB"))
    return find_tissue(Overview(pixels=pixels, downsample=1.0), level0_mpp=mpp)


@pytest.mark.parametrize("mpp", [2.0, 8.0])
class TestRealTiles:
    @pytest.mark.parametrize("name", BLANK)
    def test_empty_glass(self, shared_data: Path, name: str, mpp: float) -> None:
        assert real_tile(shared_data, name, mpp).mask.mean() < 0.001

    @pytest.mark.parametrize("name", NEARLY_BLANK)
    def test_nearly_empty_glass(self, shared_data: Path, name: str, mpp: float) -> None:
        assert real_tile(shared_data, name, mpp).mask.mean() < 0.05

    @pytest.mark.parametrize("name", TISSUE)
    def test_stained_tissue(self, shared_data: Path, name: str, mpp: float) -> None:
        assert real_tile(shared_data, name, mpp).mask.mean() > 0.45


@pytest.mark.parametrize(
    ("dimensions", "mpp", "downsample"),
    [((100_000, 80_000), 0.25, 32.0), ((2048, 512), 0.25, 4.0), ((80_000, 100_000), 4.0, 2.0)],
)
def test_the_overview_shows_a_cell_but_small_slides_stay_whole(
    dimensions: tuple[int, int], mpp: float, downsample: float
) -> None:
    assert overview_downsample(dimensions, level0_mpp=mpp) == downsample


HALF = np.arange(48).reshape(6, 8) < 24


@pytest.mark.parametrize(
    ("pixels", "suffix"),
    [
        (HALF, "png"),
        (HALF.astype(np.uint8), "png"),
        (HALF.astype(np.uint8) * 255, "png"),
        (HALF.astype(np.uint16) * 256, "png"),
        (HALF.astype(np.float32) * 0.25, "tiff"),
        (np.stack([0 * HALF, 0 * HALF, HALF], axis=2).astype(np.uint8), "png"),
        (np.dstack([HALF] * 3 + [np.ones_like(HALF)]).astype(np.uint8) * 255, "png"),
    ],
    ids=["bits", "ones", "255", "16 bit", "float", "blue", "with alpha"],
)
def test_whatever_is_not_zero_in_a_mask_is_tissue(
    pixels: np.ndarray[Any, Any], suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"mask.{suffix}"
    Image.fromarray(pixels).save(path)
    tissue = load_mask(path, dimensions=(800, 600))
    np.testing.assert_array_equal(tissue.mask, HALF)
    assert (tissue.downsample, tissue.flags) == (100.0, ())


BRUSH = (HALF * 255).astype(np.uint8)
WHITE = np.full_like(BRUSH, 255)


def _in_palette(numbers: np.ndarray[Any, Any], colours: list[int]) -> Image.Image:
    image = Image.fromarray(numbers.astype(np.uint8))
    image.putpalette(colours)
    return image


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (Image.fromarray(np.dstack([WHITE] * 3 + [BRUSH])), {}),
        (Image.fromarray(np.dstack([WHITE] * 3 + [HALF.astype(np.uint8)])), {}),
        (Image.fromarray(np.dstack([WHITE, BRUSH])), {}),
        (Image.fromarray(BRUSH // 2 + 1), {"transparency": 1}),
        (_in_palette(HALF, [255, 255, 255, 255, 0, 0]), {"transparency": 0}),
    ],
    ids=["colour", "faint", "grey", "one grey", "palette"],
)
def test_what_is_transparent_in_a_mask_is_not_tissue(
    image: Image.Image, options: dict[str, int], tmp_path: Path
) -> None:
    path = tmp_path / "mask.png"
    image.save(path, **options)
    np.testing.assert_array_equal(load_mask(path, dimensions=(800, 600)).mask, HALF)


def test_a_mask_in_which_nothing_is_painted_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    for pixels in (0 * BRUSH, np.dstack([WHITE] * 3 + [0 * BRUSH])):
        Image.fromarray(pixels).save(path)
        assert not load_mask(path, dimensions=(800, 600)).mask.any()


@pytest.mark.parametrize("colours", [[255, 255, 255, 255, 0, 0], [0, 0, 0, 0, 0, 0]])
def test_a_mask_with_a_palette_is_judged_by_its_numbers(tmp_path: Path, colours: list[int]) -> None:
    path = tmp_path / "mask.png"
    _in_palette(HALF, colours).save(path)
    np.testing.assert_array_equal(load_mask(path, dimensions=(800, 600)).mask, HALF)


def test_what_is_no_number_in_a_mask_is_not_tissue(tmp_path: Path) -> None:
    path = tmp_path / "mask.tiff"
    Image.fromarray(np.where(HALF, 0.25, np.nan).astype(np.float32)).save(path)
    np.testing.assert_array_equal(load_mask(path, dimensions=(800, 600)).mask, HALF)


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_jpeg_adds_beside_tissue_is_not_tissue(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "mask.jpg"
    painted = np.zeros((60, 80), np.bool_)
    painted[13:42, 21:50] = True
    Image.fromarray(painted.astype(np.uint8) * 255).convert(mode).save(path, quality=50)
    np.testing.assert_array_equal(load_mask(path, dimensions=(800, 600)).mask, painted)


def test_a_mask_rounded_to_whole_pixels_fits(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.ones((33, 47), np.bool_)).save(path)
    assert load_mask(path, dimensions=(1500, 1070)).downsample == pytest.approx(31.9, abs=0.1)


def _missing(path: Path) -> None:
    pass


def _text(path: Path) -> None:
    path.write_text("tissue everywhere")


def _other_shape(path: Path) -> None:
    Image.fromarray(np.ones((80, 60), np.bool_)).save(path)


def _cut_short(path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (60, 80), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:300])


def _broken_chunk(path: Path) -> None:
    """Nothing is left of the second half of the pixels but the length of their chunk."""
    Image.fromarray(np.random.default_rng(0).integers(0, 9, (600, 800), dtype=np.uint8)).save(path)
    content = bytearray(path.read_bytes())
    second = content.index(b"IDAT", content.index(b"IDAT") + 4)
    content[second : second + 4] = bytes(4)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_missing, "No such file"),
        (_text, "cannot identify image"),
        (_other_shape, r"60x80 px and the slide 800x600: .*export the mask over the whole slide"),
        (_cut_short, "truncated"),
        (_broken_chunk, "broken PNG file"),
    ],
)
def test_a_mask_that_cannot_be_laid_over_the_slide_is_refused(
    make: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "mask.png"
    make(path)
    with pytest.raises(MaskError, match=rf"tissue mask .*mask\.png.*{message}"):
        load_mask(path, dimensions=(800, 600))


def test_a_mask_larger_than_pillow_allows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mask.png"
    Image.fromarray(np.ones((60, 80), np.bool_)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(MaskError, match="exceeds limit"):
        load_mask(path, dimensions=(800, 600))
