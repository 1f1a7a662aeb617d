"""The pretraining loop, over all objectives."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator, nn

from distill.encoders import create_backbone, normalise
from distill.errors import ModelError, ObjectiveError
from distill.label_maps import LabelMaps, label_maps
from distill.objectives.moco import MomentumContrast
from distill.objectives.objective import Index, Objective, match_views, predict_nuclei
from distill.pretrain import pretrain
from distill.progress import Progress
from distill.tileset import TileSet
from distill.train import Schedule
from wsi.plan import TileSpec
from wsi.testing import nuclei_crops

CROP_PX = 64
Make = Callable[[nn.Module], Objective]


def made_up(count: int, seed: int) -> tuple[TileSet, LabelMaps]:
    pixels, instances = nuclei_crops(count=count, size_px=96, seed=seed)
    spec, sources = TileSpec(size_px=96, mpp=0.5), np.arange(count) // 2
    tiles = TileSet(seen=pixels, sources=sources, spec=spec, instances=instances)
    return tiles, label_maps(tiles)


@pytest.fixture(scope="module")
def labelled() -> tuple[TileSet, LabelMaps]:
    return made_up(40, seed=0)


@pytest.fixture(params=["rckd", "barlow", "moco"])
def make(request: pytest.FixtureRequest, labelled: tuple[TileSet, LabelMaps]) -> Make:
    tiles, truth = labelled

    def make(backbone: nn.Module) -> Objective:
        torch.manual_seed(0)
        if request.param == "rckd":
            return predict_nuclei(backbone, tiles, truth, crop_px=CROP_PX)
        return match_views(backbone, tiles, method=request.param, crop_px=CROP_PX, count=len(tiles))

    return make


def test_a_pretraining_moves_the_encoder_and_says_how_it_went(
    make: Make, labelled: tuple[TileSet, LabelMaps]
) -> None:
    tiles, _ = labelled
    kept, held_out = tiles.split(0)

    def run(seed: int) -> tuple[list[float], nn.Module, dict[int, dict[str, float]]]:
        backbone = create_backbone("resnet10t")
        progress = pretrain(
            make(backbone), kept, held_out, Schedule(steps=3), batch_size=8, seed=seed
        )
        assert progress.measures["loop_over_bare_step"] > 0
        return progress.losses, backbone, progress.checks

    losses, backbone, checks = run(0)
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    assert sorted(checks) == [1, 2, 3]
    before = dict(create_backbone("resnet10t").named_parameters())
    moved = [name for name, p in backbone.named_parameters() if not torch.equal(p, before[name])]
    assert len(moved) == len(before)
    assert run(0)[0] == pytest.approx(losses, rel=1e-3)
    assert run(1)[0] != pytest.approx(losses, rel=1e-3)


def test_every_tile_is_seen_once_before_any_comes_again(
    labelled: tuple[TileSet, LabelMaps], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles, truth = labelled
    kept, held_out = tiles.split(0)
    made = predict_nuclei(create_backbone("resnet10t"), tiles, truth, crop_px=CROP_PX)
    drawn: list[list[int]] = []

    def draw(index: Index, generator: Generator) -> tuple[torch.Tensor, torch.Tensor]:
        drawn.append(index.tolist())
        return made.draw(index, generator)

    watched = Objective(model=made.model, draw=draw, loss=made.loss, measure=made.measure)
    pretrain(watched, kept, held_out, Schedule(steps=4), batch_size=9)
    first_round = sorted(chain(*drawn[1:5]))  # the first of all is for timing
    assert drawn[1] != drawn[0]
    assert first_round == sorted(kept.tolist())
    assert not set(chain(*drawn)) & set(held_out.tolist())


def test_maps_follow_their_pixels(labelled: tuple[TileSet, LabelMaps]) -> None:
    """Made-up nuclei are darker than what is around them, wherever augmentation puts them."""
    tiles, truth = labelled
    made = predict_nuclei(create_backbone("resnet10t"), tiles, truth, crop_px=CROP_PX)
    for seed in range(8):
        x, maps = made.draw(np.arange(8), Generator().manual_seed(seed))
        assert x.shape == (8, 3, CROP_PX, CROP_PX)
        assert maps.shape == (8, 8, CROP_PX // 2, CROP_PX // 2)
        red = torch.nn.functional.avg_pool2d(x, 2)[:, 0]
        inside = maps[:, 0] > 0.9
        assert red[inside].mean() < red[maps[:, 0] < 0.1].mean() - 0.3


def test_a_student_learns_from_maps(labelled: tuple[TileSet, LabelMaps]) -> None:
    tiles, truth = labelled
    kept, held_out = tiles.split(0)
    made = predict_nuclei(create_backbone("resnet10t"), tiles, truth, crop_px=CROP_PX)
    progress = pretrain(made, kept, held_out, Schedule(steps=40, learning_rate=4e-3), batch_size=8)
    assert np.mean(progress.losses[-5:]) < 0.7 * np.mean(progress.losses[:5])
    assert progress.measures["dice"] > 0.5
    # It knows left from right and up from down, on specimens it never saw.
    others, labels = made_up(8, seed=5)
    expected = torch.from_numpy(labels.maps)
    with torch.inference_mode():
        found = made.model(normalise(torch.from_numpy(others.pixels)))
    inside = expected[:, 0] == 1
    for plane, other in ((1, 2), (2, 1)):
        said = found[:, plane][inside]
        assert torch.corrcoef(torch.stack([said, expected[:, plane][inside]]))[0, 1] > 0.4
        assert abs(torch.corrcoef(torch.stack([said, expected[:, other][inside]]))[0, 1]) < 0.3


def test_mocos_queue_is_shorter_than_the_tiles(labelled: tuple[TileSet, LabelMaps]) -> None:
    """And than those that are trained on, where that is a share of them."""
    backbone, tiles = create_backbone("resnet10t"), labelled[0]
    for count in (40, 9):
        made = match_views(backbone, tiles, method="moco", crop_px=CROP_PX, count=count)
        assert isinstance(made.model, MomentumContrast)
        assert len(made.model.queue) == count // 2


def test_what_cannot_be_is_refused(labelled: tuple[TileSet, LabelMaps]) -> None:
    tiles, truth = labelled
    backbone = create_backbone("resnet10t")
    with pytest.raises(ModelError, match="known are barlow, moco"):
        match_views(backbone, tiles, method="dino", crop_px=CROP_PX, count=3)
    made = predict_nuclei(backbone, tiles, truth, crop_px=CROP_PX)
    with pytest.raises(ObjectiveError, match="batches of 31: 2 to 30 is wanted"):
        pretrain(made, np.arange(30), np.arange(30, 40), Schedule(steps=1), batch_size=31)


class KilledError(Exception):
    pass


def test_a_killed_pretraining_goes_on_with_the_same_crops(
    make: Make, labelled: tuple[TileSet, LabelMaps], tmp_path: Path
) -> None:
    kept, held_out = labelled[0].split(0)
    checkpoint = tmp_path / "checkpoint.pt"

    def run(*, resume: bool = False, kill: int = 0) -> tuple[Progress, nn.Module]:
        def report(progress: Progress) -> None:
            if len(progress.losses) == kill:
                raise KilledError

        made = make(create_backbone("resnet10t"))
        progress = pretrain(
            made,
            kept,
            held_out,
            Schedule(steps=6),
            batch_size=4,
            accumulate=2,
            average_decay=0.9,
            checks=3,
            checkpoint=checkpoint,
            resume=resume,
            report=report,
        )
        return progress, made.model

    whole, undisturbed = run()
    checkpoint.unlink()
    with pytest.raises(KilledError):
        run(kill=5)  # saved after 4
    rest, resumed = run(resume=True)
    assert rest.losses == pytest.approx(whole.losses, rel=1e-3)
    assert sorted(rest.checks) == sorted(whole.checks) == [2, 4, 6]
    for step, measured in whole.checks.items():
        assert rest.checks[step] == pytest.approx(measured, rel=1e-2, abs=1e-3, nan_ok=True)
    assert rest.seconds > 0
    for one, other in zip(undisturbed.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


def test_the_model_is_the_average_where_one_is_wanted(labelled: tuple[TileSet, LabelMaps]) -> None:
    tiles, truth = labelled
    kept, held_out = tiles.split(0)

    def trained(decay: float | None) -> torch.Tensor:
        torch.manual_seed(0)
        made = predict_nuclei(create_backbone("resnet10t"), tiles, truth, crop_px=CROP_PX)
        pretrain(made, kept, held_out, Schedule(steps=3), batch_size=4, average_decay=decay)
        assert not made.model.training
        return made.model.nuclei.head.weight.detach()  # type: ignore[union-attr, operator, return-value]

    assert not torch.equal(trained(0.9), trained(None))
