"""The linear probe's strength chosen and fixed, on images whose brightness is the class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.pretraining.random_blocks import write_random
from benchmarks.pretraining.strength import main
from wsi.plan import TileSpec


def test_both_ways_are_measured_for_each_share_of_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = TileSpec(size_px=64, mpp=0.5)
    write_random(tmp_path / "encoders" / "random-resnet10t", "resnet10t", spec)
    images = tmp_path / "data" / "crc_val_sample"
    images.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for number in range(60):
        shade = (90, 150, 210)[number % 3]
        pixels = np.clip(generator.normal(shade, 20, (64, 64, 3)), 0, 255).astype(np.uint8)
        name = f"{('ADI', 'TUM', 'LYM')[number % 3]}___{number}.png"
        Image.fromarray(pixels).save(images / name)
    asked = f"x {tmp_path / 'encoders'} --data {tmp_path / 'data'} --task crc-val-sample"
    monkeypatch.setattr("sys.argv", [*asked.split(), "--fraction", "0.1", "1", "--seeds", "1"])
    main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:4] for row in rows] == [
        ["random-resnet10t", "crc-val-sample", "10%", "6 to 6"],
        ["random-resnet10t", "crc-val-sample", "100%", "48 to 48"],
    ]
    chosen, fixed = (float(score) for score in rows[1][4:])
    assert chosen > 0.9
    assert 0.3 < fixed <= 1
