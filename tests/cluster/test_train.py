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
from torch import nn

from cluster.errors import ClusterError
from cluster.train import train_together
from distill import group
from distill.encoders import create_backbone
from distill.label_maps import label_maps
from distill.objectives.barlow import BarlowTwins, barlow_loss
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
# Barlow Twins is left out: of 16 tiles its loss is mostly noise. Its gradients are tested below.
OBJECTIVES = ("rckd", "moco")


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
        else match_views(backbone, tiles, method=objective, crop_px=64, count=len(tiles))
    )
    kept, held_out = tiles.split(0)
    progress = pretrain(made, kept, held_out, Schedule(steps=STEPS), batch_size=16, checks=2)
    weights = torch.cat([p.detach().flatten() for p in made.model.parameters()])
    written = {"losses": progress.losses, "rows": progress.rows, "sum": float(weights.sum())}
    (folder / f"{objective}-{group.rank()}-of-{group.size()}.json").write_text(json.dumps(written))


def curves(folder: Path) -> None:
    for objective in OBJECTIVES:
        curve(folder, objective)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, by_value: None) -> Path:
    """The curves of one worker, and of two in one start of Ray."""
    folder = tmp_path_factory.mktemp("curves")
    curves(folder)
    train_together(partial(curves, folder), workers=2)
    return folder


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_workers_share_each_batch_and_the_curve_is_that_of_one(
    objective: str, trained: Path
) -> None:
    one, first, second = (
        json.loads((trained / f"{objective}-{name}.json").read_text())
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


def gradients(folder: Path) -> None:
    """Of Barlow Twins with an encoder that has no batch statistics of its own, twice."""
    torch.manual_seed(0)
    model = BarlowTwins(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), dim=5, width=16)
    views = torch.randn(2, 8, 3, 2, 2, generator=torch.Generator().manual_seed(3))
    own = views[:, group.rank() :: group.size()].reshape(-1, 3, 2, 2)
    shared = group.sharing_gradients(model)
    found = []
    for _ in range(2):
        model.zero_grad()
        loss = barlow_loss(shared(own))
        loss.backward()  # type: ignore[no-untyped-call]
        found.append([p.grad.tolist() for p in model.parameters() if p.grad is not None])
    written = {"loss": loss.item(), "gradients": found}
    (folder / f"{group.rank()}-of-{group.size()}.json").write_text(json.dumps(written))


def test_a_loss_of_the_whole_batch_has_the_same_gradients_on_two_workers(tmp_path: Path) -> None:
    gradients(tmp_path)
    train_together(partial(gradients, tmp_path), workers=2)
    one, *two = (
        json.loads((tmp_path / f"{name}.json").read_text())
        for name in ("0-of-1", "0-of-2", "1-of-2")
    )
    for of_worker in two:
        assert of_worker["loss"] == pytest.approx(one["loss"], rel=1e-4)
        for step, expected in zip(of_worker["gradients"], one["gradients"], strict=True):
            for found, wanted in zip(step, expected, strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)


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
