"""Training on several workers: the same curve as on one, and a clear end when one is lost."""

import json
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from ray import cloudpickle

from cluster.errors import ClusterError
from cluster.train import train_together
from distill import group
from distill.encoders import create_backbone
from distill.label_maps import label_maps
from distill.objectives.barlow import barlow_loss
from distill.objectives.objective import match_views, predict_nuclei
from distill.pretrain import pretrain
from distill.tileset import TileSet
from distill.train import Schedule
from wsi.plan import TileSpec
from wsi.testing import nuclei_crops

pytestmark = [
    pytest.mark.slow,
    # Ray Train builds settings of Ray Data that Ray Data deprecates.
    pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\."),
]
STEPS = 24


@pytest.fixture(scope="module", autouse=True)
def by_value() -> Iterator[None]:
    """The processes of Ray cannot import this file."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]


def curve(folder: Path, objective: str) -> None:
    pixels, instances = nuclei_crops(count=40, size_px=64, seed=0)
    tiles = TileSet(
        seen=pixels,
        sources=np.arange(40),
        spec=TileSpec(size_px=64, mpp=0.5),
        instances=instances,
    )
    torch.manual_seed(0)
    backbone = create_backbone("resnet10t")
    made = (
        predict_nuclei(backbone, tiles, label_maps(tiles), crop_px=64)
        if objective == "rckd"
        else match_views(backbone, tiles, method=objective, crop_px=64)
    )
    kept, held_out = tiles.split(0)
    progress = pretrain(made, kept, held_out, Schedule(steps=STEPS), batch_size=16, checks=2)
    weights = torch.cat([p.detach().flatten() for p in made.model.parameters()])
    written = {"losses": progress.losses, "rows": progress.rows, "sum": float(weights.sum())}
    (folder / f"{objective}-{group.rank()}-of-{group.size()}.json").write_text(json.dumps(written))


# Barlow Twins is left out: with 16 tiles its loss is mostly noise. Its gradient is tested below.
@pytest.mark.parametrize("objective", ["rckd", "moco"])
def test_two_workers_share_each_batch_and_the_curve_is_that_of_one(
    objective: str, tmp_path: Path
) -> None:
    curve(tmp_path, objective)
    train_together(partial(curve, tmp_path, objective), workers=2)
    one, first, second = (
        json.loads((tmp_path / f"{objective}-{name}.json").read_text())
        for name in ("0-of-1", "0-of-2", "1-of-2")
    )
    assert first["losses"] == pytest.approx(second["losses"])  # they are the mean over both
    assert first["sum"] == pytest.approx(second["sum"], rel=1e-5)  # and both nets are the same
    assert [len(first["rows"]), len(second["rows"])] == [2, 0]  # the first one measures
    alone, together = (np.array(of["losses"]) for of in (one, first))
    # Other crops, and batch statistics of half the tiles: noise, not another curve.
    thirds = [slice(0, 8), slice(8, 16), slice(16, 24)]
    found = [together[part].mean() for part in thirds]
    assert found == pytest.approx([alone[part].mean() for part in thirds], rel=0.15)


def gathered_gradient(folder: Path) -> None:
    """The gradient of a loss over all rows must be the mean of what each worker gets."""
    rows = torch.randn(16, 5, generator=torch.Generator().manual_seed(3))
    views = rows.view(2, 8, 5)
    own = views[:, group.rank() :: group.size()].reshape(-1, 5).clone().requires_grad_()
    loss = barlow_loss(group.gather_views(own))
    loss.backward()  # type: ignore[no-untyped-call]
    assert own.grad is not None
    found = {"loss": loss.item(), "gradient": own.grad.view(2, -1, 5).tolist()}
    (folder / f"{group.rank()}-of-{group.size()}.json").write_text(json.dumps(found))


def test_a_loss_over_all_workers_has_the_gradient_of_one_batch(tmp_path: Path) -> None:
    gathered_gradient(tmp_path)
    train_together(partial(gathered_gradient, tmp_path), workers=2)
    one, first, second = (
        json.loads((tmp_path / f"{name}.json").read_text())
        for name in ("0-of-1", "0-of-2", "1-of-2")
    )
    assert first["loss"] == pytest.approx(one["loss"], rel=1e-5)
    assert second["loss"] == pytest.approx(one["loss"], rel=1e-5)
    expected = np.array(one["gradient"])
    for rank, of in enumerate((first, second)):
        # Gradients are averaged over two workers afterwards.
        np.testing.assert_allclose(
            np.array(of["gradient"]) / 2, expected[:, rank::2], rtol=1e-4, atol=1e-6
        )


def die() -> None:
    if group.rank() == 1:
        os._exit(1)
    group.mean(0.0)  # waits for the other


def fail() -> None:
    if group.rank() == 1:
        raise ValueError("the tiles of worker 1 are gone")
    group.mean(0.0)


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (die, r"(worker 1|a worker was lost): .*has died"),
        (fail, "worker 1: .*the tiles of worker 1 are gone"),
    ],
)
def test_a_lost_worker_ends_the_training_with_its_name(task: object, says: str) -> None:
    with pytest.raises(ClusterError, match=rf"on 2 workers ended \(.*{says}.*--resume goes on"):
        train_together(task, workers=2)  # type: ignore[arg-type]
