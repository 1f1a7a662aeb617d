"""RCKD in small: a teacher that learns from labels, and a student that learns from the teacher."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from distill.encoders import create_backbone, normalise
from distill.losses import fidelity
from distill.nuclei_net import OUTPUT_STRIDE, NucleiNet
from distill.rckd import Trained, distil, respond, train_teacher
from distill.targets import nuclei_maps, reduce_maps
from distill.train import Schedule
from wsi.slide import Pixels
from wsi.testing import nuclei_crops

ARCHITECTURE = "resnet10t"
SHORT = Schedule(steps=40, learning_rate=4e-3)
Labelled = tuple[Pixels, NDArray[np.int32]]


@pytest.fixture(scope="module")
def labelled() -> Labelled:
    return nuclei_crops(count=48, size_px=128, seed=0)


@pytest.fixture(scope="module")
def unseen() -> Labelled:
    """Crops of other specimens, with other stains."""
    return nuclei_crops(count=16, size_px=128, seed=5)


@pytest.fixture(scope="module")
def teacher(labelled: Labelled) -> Trained:
    pixels, instances = labelled
    return train_teacher(pixels, instances, architecture=ARCHITECTURE, schedule=SHORT, batch_size=8)


@torch.no_grad()
def maps_of(net: NucleiNet, pixels: Pixels) -> Tensor:
    return net(normalise(torch.from_numpy(pixels)))  # type: ignore[no-any-return]


def truth_of(instances: NDArray[np.int32]) -> Tensor:
    maps = [reduce_maps(nuclei_maps(of_tile), OUTPUT_STRIDE) for of_tile in instances]
    return torch.from_numpy(np.stack(maps))


def test_a_teacher_learns_nuclei_on_slides_it_never_saw(teacher: Trained, unseen: Labelled) -> None:
    pixels, instances = unseen
    truth = truth_of(instances)
    everywhere = torch.zeros_like(truth)
    everywhere[:, 0] = 1
    constant = fidelity(everywhere, truth)
    learned = fidelity(maps_of(teacher.net, pixels), truth)
    assert learned["dice"] > constant["dice"] + 0.3
    assert learned["distance_error"] < 0.8 * constant["distance_error"]
    assert teacher.held_out["dice"] > constant["dice"] + 0.3
    assert len(teacher.history) == SHORT.steps
    assert np.mean(teacher.history[-5:]) < 0.6 * np.mean(teacher.history[:5])


def test_a_teacher_knows_left_from_right_and_up_from_down(
    teacher: Trained, unseen: Labelled
) -> None:
    pixels, instances = unseen
    truth = truth_of(instances)
    maps = maps_of(teacher.net, pixels)
    inside = truth[:, 0] == 1
    for plane, other in ((1, 2), (2, 1)):
        pair = torch.stack([maps[:, plane][inside], truth[:, plane][inside]])
        across = torch.stack([maps[:, plane][inside], truth[:, other][inside]])
        assert torch.corrcoef(pair)[0, 1] > 0.6
        assert abs(torch.corrcoef(across)[0, 1]) < 0.3


def test_a_student_comes_to_repeat_its_teacher(
    teacher: Trained, labelled: Labelled, unseen: Labelled
) -> None:
    student = distil(
        labelled[0], teacher.net, architecture=ARCHITECTURE, schedule=SHORT, batch_size=8, seed=1
    )
    responses = respond(teacher.net, unseen[0]).float()
    torch.manual_seed(1)
    untrained = NucleiNet(create_backbone(ARCHITECTURE, seed=1)).eval()
    before = fidelity(maps_of(untrained, unseen[0]), responses)
    after = fidelity(maps_of(student.net, unseen[0]), responses)
    assert after["dice"] > before["dice"] + 0.3
    assert after["distance_error"] < 0.5 * before["distance_error"]
    assert student.held_out["dice"] > before["dice"] + 0.3


def test_responses_do_not_depend_on_the_batch(teacher: Trained, labelled: Labelled) -> None:
    pixels = labelled[0][:35]  # more than one batch
    teacher.net.train()
    responses = respond(teacher.net, pixels)
    assert not teacher.net.training
    assert responses.shape == (35, 3, 64, 64)
    assert responses.dtype == torch.float16
    assert 0 <= responses[:, 0].min() < responses[:, 0].max() <= 1
    assert responses[:, 1:].abs().max() <= 1
    alone = torch.cat([respond(teacher.net, pixels[i : i + 1]) for i in (0, 33)])
    torch.testing.assert_close(responses[[0, 33]], alone, atol=5e-3, rtol=0)


def test_the_seed_decides_and_nothing_outside(labelled: Labelled) -> None:
    pixels, instances = labelled[0][:12], labelled[1][:12]

    def trained(seed: int) -> Trained:
        return train_teacher(
            pixels,
            instances,
            architecture=ARCHITECTURE,
            schedule=Schedule(steps=2),
            batch_size=4,
            seed=seed,
        )

    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one = trained(0)
    assert torch.equal(torch.rand(3), expected)  # the caller's random numbers are his
    torch.manual_seed(12)
    same, other = trained(0), trained(1)
    assert one.history == pytest.approx(same.history, rel=1e-4)
    assert one.history != pytest.approx(other.history, rel=1e-2)


@pytest.mark.parametrize(("tiles", "batch_size"), [(2, 4), (3, 1), (10, 8), (10, 4)])
def test_few_tiles_and_small_batches_still_train(tiles: int, batch_size: int) -> None:
    generator = Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (tiles, 128, 128, 3), generator=generator).byte().numpy()
    instances = np.zeros((tiles, 128, 128), np.int32)
    instances[:, 40:60, 40:60] = 8
    reported: list[int] = []
    trained = train_teacher(
        pixels,
        instances,
        architecture=ARCHITECTURE,
        schedule=Schedule(steps=3),
        batch_size=batch_size,
        report=lambda step, _: reported.append(step),
    )
    assert np.isfinite(trained.history).all()
    assert reported == [0, 1, 2]
