"""Views: geometry on tiles whose pixels say where they are, colour against other programs."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Generator, Tensor

from distill import views
from wsi.stain import jitter_hed


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def tissue(count: int = 4, size_px: int = 32) -> Tensor:
    """Random pixels, not darker than stained tissue is; (B, 3, S, S) float 0-255."""
    shape = (count, 3, size_px, size_px)
    return torch.randint(60, 256, shape, generator=generator(9)).float()


def ramps(count: int, size_px: int) -> Tensor:
    """Channel 0 says the column of a pixel's centre, channel 1 the row, channel 2 nothing."""
    at = torch.arange(size_px) + 0.5
    rows, columns = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([columns, rows, torch.zeros_like(rows)]).expand(count, 3, -1, -1)


def test_whole_tiles_come_in_all_eight_symmetries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "AREA", (1.0, 1.0))
    monkeypatch.setattr(views, "ASPECT", (1.0, 1.0))
    tile = tissue(1, 16)
    turned = [torch.rot90(tile[0], k, (1, 2)) for k in range(4)]
    symmetries = [*turned, *(t.flip(2) for t in turned)]
    found = views.resized_crop(tile.expand(64, -1, -1, -1), 16, generator())
    seen = set()
    for view in found:
        matches = [i for i, s in enumerate(symmetries) if torch.allclose(view, s, atol=1e-3)]
        assert len(matches) == 1
        seen.update(matches)
    assert seen == set(range(8))


def test_a_part_is_inside_its_tile_and_of_the_share_and_shape_asked_for() -> None:
    parts = views.resized_crop(ramps(200, 64), 32, generator())
    edges = parts[:, :2].flatten(2)
    assert edges.min() >= 0.5 - 1e-3
    assert edges.max() <= 63.5 + 1e-3
    step_x = (parts[:, :2, 16, 20] - parts[:, :2, 16, 12]).abs().amax(1) / 8 / 2
    step_y = (parts[:, :2, 20, 16] - parts[:, :2, 12, 16]).abs().amax(1) / 8 / 2
    area = step_x * step_y
    assert 0.3 - 0.01 < area.min() < 0.4
    assert 0.9 < area.max() < 1.01
    assert (step_x / step_y).max() < 4 / 3 + 0.02
    # Neighbours are equally far apart everywhere: no part is bent or wrapped around.
    second = parts[:, :2, 2:-2, 2:-2].diff(n=2, dim=3)
    assert second.abs().max() < 1e-2


def test_stain_is_varied_as_the_slow_and_exact_way_does(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = tissue()
    drawn: list[Tensor] = []
    between = views._between

    def record(*arguments: object) -> Tensor:
        drawn.append(between(*arguments))  # type: ignore[arg-type]
        return drawn[-1]

    monkeypatch.setattr(views, "_between", record)
    found = views.vary_stain(tiles, generator())
    scale = 1 + views.STAIN * (drawn[0] + drawn[1])
    shift = views.STAIN_SHIFT * drawn[2]
    pixels = tiles.permute(0, 2, 3, 1).byte().numpy()
    expected = jitter_hed(pixels, scale=scale.numpy(), shift=shift.numpy())
    difference = found.permute(0, 2, 3, 1).numpy() - expected
    assert np.abs(difference).max() < 0.51
    assert np.abs(expected.astype(float) - pixels).mean() > 3


def test_white_glass_stays_nearly_white() -> None:
    assert views.vary_stain(torch.full((50, 3, 4, 4), 255.0), generator()).min() > 245


def test_light_scales_the_mean_and_the_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "LIGHT", 0.1)
    tiles = 100 + tissue(30) / 10  # far from both ends, so that nothing is cut off
    found = views.vary_light(tiles, generator())
    luma = torch.tensor(views.LUMA).view(3, 1, 1)
    brightness = (found * luma).sum(1).mean((1, 2)) / (tiles * luma).sum(1).mean((1, 2))
    assert 0.9 <= brightness.min() < 0.93 < 1.07 < brightness.max() <= 1.1
    spread = found.std((1, 2, 3)) / tiles.std((1, 2, 3)) / brightness
    assert 0.89 <= spread.min() < 0.93 < 1.07 < spread.max() <= 1.11


def test_a_share_of_the_tiles_turns_grey() -> None:
    tiles = tissue(200, 8)
    found = views.vary_light(tiles, generator(), grey=0.25)
    is_grey = (found.amax(1) - found.amin(1)).amax((1, 2)) < 1e-3
    assert 30 < is_grey.sum() < 70
    assert not (views.vary_light(tiles, generator()).std(1) < 1e-3).all((1, 2)).any()


def test_blur_is_scipys_gaussian(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "BLUR", 0.5)
    monkeypatch.setattr(views, "BLUR_SIGMA_PX", (1.2, 1.2))
    tiles = tissue(16)
    found = views.blur(tiles, generator())
    changed = (found != tiles).flatten(1).any(1)
    assert 3 < changed.sum() < 13
    expected = ndimage.gaussian_filter(tiles.numpy(), (0, 0, 1.2, 1.2), mode="mirror", radius=3)
    assert np.abs(found.numpy() - expected)[changed.numpy()].max() < 1e-2


def test_views_are_two_of_each_tile_by_the_seed_alone() -> None:
    pixels = tissue(3, 64).permute(0, 2, 3, 1).byte()
    found = views.two_views(pixels, 32, generator())
    assert found.shape == (6, 3, 32, 32)
    assert found.dtype == torch.float32
    assert 0 <= found.min() < found.max() <= 255
    assert torch.equal(found, views.two_views(pixels, 32, generator()))
    assert not torch.equal(found, views.two_views(pixels, 32, generator(1)))
    assert not torch.equal(found[:3], found[3:])


def test_views_of_a_large_tile_show_nuclei_as_large_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(views, "vary_colour", lambda pixels, *_, **__: pixels)
    tiles = ramps(60, 192).permute(0, 2, 3, 1)
    both = views.two_views(tiles, 64, generator())
    step = (both[:, :2, 32, 36] - both[:, :2, 32, 28]).abs().amax(1) / 8
    assert 0.5 < step.min() < step.max() < views.ROOM * 1.01
    first, second = both[:, :2].mean((2, 3)).split(60)
    assert (first - second).abs().max() < 64  # of one place
    assert first.std() > 0  # which is not the same for all batches
    assert not torch.equal(both, views.two_views(tiles, 64, generator(1)))
