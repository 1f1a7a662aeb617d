"""Published teachers: loaded as they are published, on small stand-ins, and refused otherwise."""

import json
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from distill.encoders import normalise
from distill.errors import ModelError
from distill.metrics import score
from distill.resample import resize_labels
from distill.respond import teacher_of
from distill.targets import nuclei_maps
from distill.teachers.card import InstanSegCard, read_teacher_card
from distill.teachers.postprocess import Thresholds, separate
from distill.teachers.published.hovernet import (
    LOST_PX,
    HoverNet,
    HoverNetTeacher,
    load_hovernet,
)
from distill.teachers.published.instanseg import InstanSegTeacher, scale_channels
from distill.teachers.read import read_labelled
from distill.teachers.teacher import load_teacher
from pipelines.cli.main import cli
from tests.distill.teachers.stand_ins import DarkParts, write_script, write_teacher
from wsi.slide import Pixels
from wsi.testing import nuclei_crops

SIZE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Crops:
    """Pixels (N, S, S, 3) and instances (N, S, S)."""

    pixels: Pixels
    instances: np.ndarray


@pytest.fixture(scope="module")
def crops() -> Crops:
    pixels, instances = nuclei_crops(count=3, size_px=SIZE, seed=5)
    return Crops(pixels=pixels, instances=instances)


@pytest.fixture(scope="module")
def instanseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("instanseg")
    write_script(folder / "instanseg.pt", DarkParts())
    return write_teacher(folder, "instanseg", folder / "instanseg.pt", licence="Apache-2.0")


@pytest.fixture(scope="module")
def hovernet() -> HoverNet:
    torch.manual_seed(0)
    net = HoverNet(types=6).eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(std=0.1)  # type: ignore[union-attr]
            part.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return net


def test_an_instanseg_script_finds_what_it_numbers(instanseg: Path, crops: Crops) -> None:
    teacher = load_teacher(instanseg)
    assert teacher.mpp == 0.5
    scaled = scale_channels(normalise(torch.from_numpy(crops.pixels)))
    for pixels, numbers in zip(crops.pixels, DarkParts()(scaled)[:, 0], strict=True):
        wanted = numbers.numpy().astype(np.int32)
        wanted[np.bincount(wanted.ravel())[wanted] < 10] = 0  # of the card's thresholds
        found = teacher.segment(pixels)
        scores = score(wanted, found)
        assert scores.dice > 0.97
        assert scores.pq > 0.85


def test_percentiles_become_0_and_1_whatever_came_before(crops: Crops) -> None:
    plain = torch.from_numpy(crops.pixels).permute(0, 3, 1, 2).float()
    scaled = scale_channels(plain)
    ends = np.percentile(scaled.numpy(), [0.1, 99.9], axis=(2, 3))
    np.testing.assert_allclose(ends[0], 0, atol=1e-3)
    np.testing.assert_allclose(ends[1], 1, atol=1e-3)
    again = scale_channels(normalise(torch.from_numpy(crops.pixels)))
    torch.testing.assert_close(again, scaled, atol=1e-4, rtol=0)
    assert not scale_channels(torch.full((1, 3, 8, 8), 0.7)).any()


def test_true_nuclei_survive_being_drawn_as_maps(shared_data: Path) -> None:
    """What an instance segmentation loses by way of distances and a watershed."""
    card = InstanSegCard(kind="instanseg", weights="w", sha256="0" * 64, licence="none")
    thresholds = Thresholds(**card.thresholds.model_dump())
    images = [image for image in read_labelled(shared_data / "monuseg") if image.complete]
    for image in images[:3]:
        half = resize_labels(image.instances, (500, 500))
        scores = score(half, separate(nuclei_maps(half), thresholds))
        assert scores.pq > 0.97
        assert scores.aji > 0.97


def test_a_script_with_other_answers_is_refused(tmp_path: Path, crops: Crops) -> None:
    class Cells(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :2]  # nuclei and cells, as the fluorescence models give

    with pytest.raises(ModelError, match=r"answers \(3, 3, 128, 128\) with \(3, 2, 128, 128\)"):
        InstanSegTeacher(Cells())(normalise(torch.from_numpy(crops.pixels)))


def test_hovernet_has_the_published_layout(hovernet: HoverNet) -> None:
    shapes = {name: tuple(value.shape) for name, value in hovernet.state_dict().items()}
    for name, shape in {
        "conv0./.weight": (64, 3, 7, 7),
        "conv0.bn.running_mean": (64,),
        "d0.shortcut.weight": (256, 64, 1, 1),
        "d0.units.0.conv1.weight": (64, 64, 1, 1),
        "d0.units.2.preact/bn.weight": (256,),
        "d1.units.0.conv2.weight": (128, 128, 3, 3),
        "d2.units.5.conv3.weight": (1024, 256, 1, 1),
        "d3.units.0.conv1/bn.bias": (512,),
        "d3.blk_bna.bn.running_var": (2048,),
        "conv_bot.weight": (1024, 2048, 1, 1),
        "decoder.np.u3.conva.weight": (256, 1024, 3, 3),
        "decoder.hv.u3.dense.units.7.preact_bna/bn.weight": (480,),
        "decoder.hv.u3.dense.units.7.conv2.weight": (32, 32, 3, 3),
        "decoder.tp.u3.convf.weight": (512, 512, 1, 1),
        "decoder.tp.u2.dense.blk_bna.bn.bias": (256,),
        "decoder.tp.u1.conva.weight": (64, 256, 3, 3),
        "decoder.np.u0.bn.weight": (64,),
        "decoder.np.u0.conv.bias": (2,),
        "decoder.tp.u0.conv.weight": (6, 64, 1, 1),
    }.items():
        assert shapes[name] == shape
    assert "d0.units.0.preact/bn.weight" not in shapes
    parameters = sum(value.numel() for value in hovernet.parameters())
    assert parameters == pytest.approx(37.6e6, rel=2e-3)


@torch.inference_mode()
def test_hovernet_sees_256_pixels_and_answers_164(hovernet: HoverNet) -> None:
    answers = hovernet(torch.rand(1, 3, 256, 256))
    assert {name: tuple(value.shape) for name, value in answers.items()} == {
        "np": (1, 2, 164, 164),
        "hv": (1, 2, 164, 164),
        "tp": (1, 6, 164, 164),
    }
    assert 256 - 2 * LOST_PX == 164


@torch.inference_mode()
def test_as_a_teacher_it_answers_each_pixel_in_its_place(hovernet: HoverNet) -> None:
    teacher = HoverNetTeacher(hovernet).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (128, 160, 3), np.uint8)
    maps = teacher(normalise(torch.from_numpy(pixels)[None]))[0]
    assert maps.shape == (3, 128, 160)

    padded = np.pad(pixels, [(48, 48), (48, 48), (0, 0)], mode="reflect")
    answers = hovernet(torch.from_numpy(padded).permute(2, 0, 1)[None] / 255)
    inside = np.s_[48 - LOST_PX : 48 - LOST_PX + 128, 48 - LOST_PX : 48 - LOST_PX + 160]
    probability = answers["np"][0].softmax(0)[1][inside]
    torch.testing.assert_close(maps[0].sigmoid(), probability, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(maps[1:], answers["hv"][0][:, *inside], atol=1e-3, rtol=1e-3)

    pixels[60:68, 100:108] = 255 - pixels[60:68, 100:108]
    change = (teacher(normalise(torch.from_numpy(pixels)[None]))[0] - maps).square().sum(0)
    top = (change > change.quantile(0.98)).nonzero().float().mean(0)
    assert torch.abs(top - torch.tensor([64.0, 104.0])).max() < 6


@pytest.mark.parametrize("stored", ["bare", "of the training script"])
def test_a_checkpoint_loads_as_published(hovernet: HoverNet, stored: str) -> None:
    weights = hovernet.state_dict()
    if stored != "bare":
        weights |= {"upsample2x.unpool_mat": torch.ones(2, 2)}
        weights = {"desc": {f"module.{name}": value for name, value in weights.items()}}
    file = BytesIO()
    torch.save(weights, file)
    file.seek(0)
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(load_hovernet(file)(x), HoverNetTeacher(hovernet).eval()(x))


def test_a_hovernet_folder_is_a_teacher(hovernet: HoverNet, crops: Crops, tmp_path: Path) -> None:
    torch.save({"desc": hovernet.state_dict()}, tmp_path / "hovernet_fast.tar")
    write_teacher(tmp_path, "hovernet", tmp_path / "hovernet_fast.tar", licence="CC BY-NC-SA 4.0")
    teacher = load_teacher(tmp_path)
    assert (teacher.mpp, teacher.thresholds) == (0.25, Thresholds())
    assert read_teacher_card(tmp_path).licence == "CC BY-NC-SA 4.0"
    answer = teacher_of(teacher.net)(crops.pixels[:1, :64, :64])
    assert answer.shape == (1, 3, 32, 32)
    assert np.isfinite(answer).all()
    assert teacher.segment(crops.pixels[0, :40, :48]).shape == (40, 48)


class Trap:
    """Its unpickling would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ({"conv0./.weight": torch.ones(1)}, "not of HoVer-Net's fast variant"),
        ([torch.ones(1)], "is a dictionary"),
        ({"desc": Trap()}, "not a checkpoint of tensors alone"),
    ],
)
def test_what_is_no_hovernet_is_refused(stored: object, says: str) -> None:
    file = BytesIO()
    torch.save(stored, file)
    file.seek(0)
    with pytest.raises(ModelError, match=says):
        load_hovernet(file)
    with pytest.raises(ModelError, match="not a checkpoint"):
        load_hovernet(BytesIO(b"<html>not found</html>"))


def test_other_bytes_than_asked_for_are_not_looked_into(
    instanseg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "instanseg.pt"
    weights.write_bytes((instanseg / "instanseg.pt").read_bytes() + b" ")
    write_teacher(tmp_path, "instanseg", instanseg / "instanseg.pt")

    def never(*arguments: object, **options: object) -> None:
        pytest.fail("the script was loaded")

    monkeypatch.setattr(torch.jit, "load", never)
    with pytest.raises(ModelError, match=r"instanseg\.pt has SHA-256 .*, its card says"):
        load_teacher(tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "stardist"}, "kind: Input should be 'unet', 'instanseg' or 'hovernet'"),
        ({"licence": ""}, "licence"),
        ({"sha256": ""}, "sha256"),
        ({"weights": "../instanseg.pt"}, "a file name inside"),
        ({"widths": [1]}, "widths: Extra inputs"),
    ],
)
def test_a_card_without_what_it_needs_is_refused(
    instanseg: Path, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    write_teacher(tmp_path, "instanseg", instanseg / "instanseg.pt", **change)
    with pytest.raises(ModelError, match=re.escape(says)):
        load_teacher(tmp_path)


def test_a_student_is_taught_its_maps_at_half_the_resolution(instanseg: Path, crops: Crops) -> None:
    answer = teacher_of(load_teacher(instanseg).net)(crops.pixels)
    assert answer.shape == (3, 3, SIZE // 2, SIZE // 2)
    assert 0.04 < answer[:, 0].min() < 0.06
    assert 0.94 < answer[:, 0].max() < 0.96
    assert -1 <= answer[:, 1:].min() < -0.5 < 0.5 < answer[:, 1:].max() <= 1


def test_the_commands_take_it_and_show_its_licence(
    instanseg: Path, crops: Crops, tmp_path: Path
) -> None:
    for kind, arrays in (("images", crops.pixels), ("instances", crops.instances)):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for number, array in enumerate(arrays):
            image = array if kind == "images" else array.astype(np.uint16)
            Image.fromarray(image).save(tmp_path / "data" / kind / f"{number}.png")
    words = ["teacher", "evaluate", "--images", str(tmp_path / "data"), "--weights", str(instanseg)]
    result = CliRunner().invoke(cli, [*words, "--json", "--turns", "1"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "instanseg, 0.5 µm/px, licence: Apache-2.0" in result.stderr
    assert json.loads(result.stdout)["mean"]["dice"] > 0.6

    out = tmp_path / "student"
    words = ["pretrain", "rckd", "--tiles", str(tmp_path / "data"), "--mpp", "0.5", "-o", str(out)]
    words += ["--teacher", str(instanseg), "--architecture", "resnet10t", "--steps", "2"]
    words += ["--batch", "2", "--tile-px", "64", "--crop", "64", "--context", "0"]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "licence: Apache-2.0" in result.stderr
    assert "teacher: Apache-2.0" in (out / "model.toml").read_text()
    assert read_teacher_card(instanseg).licence == "Apache-2.0"
