"""Tiles of poor quality are neither embedded nor lost; steps change what the encoder sees."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.card import EncoderCard, ModelCard, TileCard, TrainingCard
from distill.encoders import create_encoder
from pipelines.embedding.embedders import Embedder
from pipelines.heatmaps.channels import ATTENTION
from pipelines.heatmaps.looked import NAMES
from pipelines.heatmaps.ome_zarr import make_heatmap
from pipelines.model import Model
from pipelines.settings.config import RunConfig
from pipelines.steps.embed import embed_grid, lay_grid
from pipelines.steps.look import Look
from pipelines.steps.opened import Opened
from pipelines.steps.timing import Timing
from wsi.errors import PoorQualityError
from wsi.plan import TileSpec
from wsi.preprocess import NOT_ESTIMATED, apply_steps, fit_steps
from wsi.quality import MEASURES
from wsi.ref import SlideRef
from wsi.resolution import MppSource, Resolution
from wsi.slide import Pixels, Slide
from wsi.testing import Specimen, render
from wsi.tilestore import TileTable, read_tiles
from wsi.tissue import Tissue

EDGE = 100
MakeSlide = Callable[[Pixels], Slide]


@pytest.fixture(scope="module")
def model() -> Model:
    """Embeds a tile as its mean colour, so that an embedding says what was embedded."""
    spec = TileSpec(size_px=EDGE, mpp=0.5)
    encoder = create_encoder("mean-colour", spec=spec)
    card = ModelCard(
        encoder=EncoderCard(
            architecture="mean-colour",
            identifier=encoder.identifier,
            dim=3,
            mean=encoder.mean,
            std=encoder.std,
            licence="Apache-2.0",
        ),
        tile=TileCard(size_px=EDGE, mpp=0.5),
        training=TrainingCard(data="none", data_licence="none", method="none", measures={}),
    )
    return Model(card=card, encoder=encoder, head=None, sha256="")


@pytest.fixture(scope="module")
def tissue() -> Pixels:
    """(400, 500, 3) from the middle of a made-up specimen."""
    return render(
        Specimen(seed=11, width=1400, height=1400), x=450, y=450, width=500, height=400
    ).rgb


def embed(
    slide: Slide, model: Model, folder: Path, **settings: Any
) -> tuple[dict[str, Any], TileTable]:
    width, height = slide.dimensions
    mask = np.ones((height // 10, width // 10), np.bool_)
    look = Look(
        resolution=Resolution(mpp=0.5, source=MppSource.VENDOR),
        tissue=Tissue(mask=mask, downsample=10.0),
    )
    config = RunConfig(model=folder, batch_size=7, feature_dtype="float32", **settings)
    grid = lay_grid(slide, look, model.encoder.spec, config)
    ref = SlideRef(path=folder / "made.svs", slide_id="made")
    opened = Opened(slide=slide, ref=ref, look=look, config=config, folder=folder, source="ab" * 32)
    embedder = Embedder(name="", folder=folder, model=model, parameters={})
    facts = embed_grid(opened, grid, [embedder], Timing()).write(embedder)
    return facts, read_tiles(folder / "tiles.h5")


def spoil(tissue: Pixels) -> Pixels:
    """Ink over the tile at (200, 100), darkness over (300, 300), nothing at (0, 300)."""
    spoilt = tissue.copy()
    spoilt[100:200, 200:300] = (30, 140, 70)
    spoilt[300:400, 300:400] = (40, 10, 40)
    spoilt[300:400, :100] = (243, 243, 243)
    return spoilt


def test_poor_tiles_are_set_apart_with_their_reason(
    array_slide: MakeSlide, model: Model, tissue: Pixels, tmp_path: Path
) -> None:
    spoilt = spoil(tissue)
    facts, table = embed(array_slide(spoilt), model, tmp_path)
    assert facts == {
        "n_tiles": 17,
        "n_invalid_tiles": 0,
        "n_reused_tiles": 0,
        "n_excluded_tiles": 3,
        "excluded": {"pen": 1, "dark": 1, "blank": 1},
        "flags": [],
    }
    assert table.attributes["slide_digest"] == "ab" * 32
    reasons = [MEASURES[k] for k in table.left_out.reason]
    assert dict(zip(map(tuple, table.left_out.coords.tolist()), reasons, strict=True)) == {
        (200, 100): "pen",
        (0, 300): "blank",
        (300, 300): "dark",
    }
    assert table.quality is not None
    assert table.quality.shape == (17, 4)
    for (x, y), embedding in zip(table.coords.tolist(), table.embeddings, strict=True):
        mean = spoilt[y : y + EDGE, x : x + EDGE].mean(axis=(0, 1)) / 255
        np.testing.assert_allclose(embedding, mean, atol=1e-5)
    everything = np.concatenate([table.coords, table.left_out.coords]).tolist()
    assert sorted(everything) == [[x, y] for x in range(0, 500, 100) for y in range(0, 400, 100)]


def test_where_a_tile_was_left_out_the_model_did_not_look(
    array_slide: MakeSlide, model: Model, tissue: Pixels, tmp_path: Path
) -> None:
    _, table = embed(array_slide(spoil(tissue)), model, tmp_path)
    heatmap = make_heatmap(np.ones((len(table.coords), 1)), [ATTENTION], table)
    assert np.argwhere(np.isnan(heatmap.values[0])).tolist() == [[1, 2], [3, 0], [3, 3]]
    assert heatmap.looked is not None
    assert [NAMES[heatmap.looked[at]] for at in ((1, 2), (3, 0), (3, 3), (0, 0))] == [
        "pen ink",
        "blank",
        "too dark",
        "looked at",
    ]


def test_with_quality_off_every_tile_is_embedded_and_measured(
    array_slide: MakeSlide, model: Model, tissue: Pixels, tmp_path: Path
) -> None:
    facts, table = embed(array_slide(spoil(tissue)), model, tmp_path, quality="off")
    assert (facts["n_tiles"], facts["n_excluded_tiles"], facts["excluded"]) == (20, 0, {})
    assert table.quality is not None
    assert table.quality[:, :3].max() == 1
    assert set(json.loads(table.attributes["quality_limits"]).values()) == {None}


def test_a_slide_without_a_good_tile_is_an_error_with_the_counts(
    array_slide: MakeSlide, model: Model, tmp_path: Path
) -> None:
    bad = np.full((200, 300, 3), (30, 140, 70), np.uint8)
    bad[:100] = (40, 10, 40)
    with pytest.raises(PoorQualityError, match=r"all 6 .*pen 3, dark 3.*--quality off") as caught:
        embed(array_slide(bad), model, tmp_path)
    assert caught.value.kind == "poor_quality"
    assert not (tmp_path / "tiles.h5").exists()


def test_a_slide_of_which_most_is_left_out_is_flagged(
    array_slide: MakeSlide, model: Model, tissue: Pixels, tmp_path: Path
) -> None:
    bad = tissue.copy()
    bad[:, 200:] = (30, 140, 70)
    facts, _ = embed(array_slide(bad), model, tmp_path)
    assert facts["n_excluded_tiles"] == 12
    assert facts["flags"] == ["mostly_excluded"]


def test_the_encoder_sees_preprocessed_tiles_fitted_to_the_good_ones(
    array_slide: MakeSlide, model: Model, tissue: Pixels, tmp_path: Path
) -> None:
    spoilt = spoil(tissue)
    names = ("denoise", "macenko")
    facts, table = embed(array_slide(spoilt), model, tmp_path, preprocess=names)
    assert facts["flags"] == []
    good = np.stack([spoilt[y : y + EDGE, x : x + EDGE] for x, y in table.coords.tolist()])
    expected = apply_steps(fit_steps(names, good), good)
    np.testing.assert_allclose(table.embeddings, expected.mean(axis=(1, 2)) / 255, atol=1e-5)
    stored = json.loads(table.attributes["preprocess"])
    assert [step["name"] for step in stored] == list(names)
    assert np.shape(stored[1]["vectors"]) == (2, 3)


def test_where_no_stain_can_be_estimated_pixels_stay_and_the_slide_is_flagged(
    array_slide: MakeSlide, model: Model, tmp_path: Path
) -> None:
    flat = np.full((200, 300, 3), (200, 120, 170), np.uint8)
    facts, table = embed(array_slide(flat), model, tmp_path, preprocess=("macenko",))
    assert facts["flags"] == [NOT_ESTIMATED]
    np.testing.assert_allclose(table.embeddings, np.tile(flat[0, 0] / 255, (6, 1)), atol=1e-6)
    assert "not_estimated" in json.loads(table.attributes["preprocess"])[0]
