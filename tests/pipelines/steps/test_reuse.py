"""A person edits the tissue: only the tiles that are new are embedded, and nothing else changes."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.encoders import Encoder, create_encoder
from pipelines.cohort.manifest import Entry
from pipelines.demo.alignment import write_colour_model
from pipelines.embedding import work as embedding_work
from pipelines.job import SlideJob
from pipelines.records import SlideRecord
from pipelines.settings.config import QualityConfig, RunConfig
from pipelines.slide import run_slide
from pipelines.steps import embed as embed_step
from wsi.atomic import digest
from wsi.errors import MaskError
from wsi.plan import TileSpec
from wsi.ref import SlideRef
from wsi.slide import Pixels
from wsi.testing import Specimen, write_slide
from wsi.tilestore import TileTable, read_tiles

SPEC = TileSpec(size_px=64, mpp=1.0)


@dataclass(slots=True)
class Bench:
    """A slide, a model, and how many tiles went through it since the last look."""

    job: SlideJob
    embedded: int = 0

    @property
    def outline(self) -> Path:
        return self.job.folder / "tissue.geojson"

    def run(self, **config: Any) -> tuple[SlideRecord, int]:
        self.embedded = 0
        job = replace(self.job, config=self.job.config.model_copy(update=config))
        return run_slide(job), self.embedded

    def tiles(self) -> TileTable:
        return read_tiles(self.job.folder / "tiles.h5")

    def receipt(self) -> dict[str, Any]:
        return json.loads((self.job.folder / "receipt.json").read_text())

    def draw(self, *, ignore: tuple[int, int, int, int] | None = None, **add: Any) -> None:
        """Edit the outline as QuPath would: other features, and no mark of ours."""
        features = json.loads(self.outline.read_text())["features"]
        boxes = [("Ignore*", ignore)] if ignore else []
        boxes += [("Tissue", box) for box in add.values()]
        for name, (left, top, right, bottom) in boxes:
            ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
            geometry = {"type": "Polygon", "coordinates": [ring]}
            properties = {"objectType": "annotation", "classification": {"name": name}}
            features.append({"type": "Feature", "geometry": geometry, "properties": properties})
        self.outline.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slide")
    return write_slide(folder / "s.svs", Specimen(seed=7, width=2600, height=2300))


@pytest.fixture
def bench(slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    write_colour_model(tmp_path / "model", SPEC)
    # Without limits of quality, because what is drawn here lies on glass too.
    settings = {"model": tmp_path / "model", "executor": "serial", "batch_size": 7}
    config = RunConfig.model_validate(settings | {"quality": "off"})
    ref = SlideRef(path=slide, slide_id="s")
    made = Bench(SlideJob(entry=Entry(ref=ref), folder=tmp_path / "out" / "s", config=config))
    embed = Encoder.embed

    def spy(self: Encoder, pixels: Pixels, **how: bool) -> Any:
        made.embedded += len(pixels)
        return embed(self, pixels, **how)

    monkeypatch.setattr(Encoder, "embed", spy)
    return made


def places(table: TileTable) -> set[tuple[int, int]]:
    return {(x, y) for x, y in table.coords.tolist()}


@pytest.mark.parametrize("block_tiles", [embedding_work.BLOCK_TILES, 14])
def test_an_edit_costs_only_its_own_tiles(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_tiles: int
) -> None:
    monkeypatch.setattr(embedding_work, "BLOCK_TILES", block_tiles)
    first, n_first = bench.run()
    before = bench.tiles()
    assert n_first == first.n_tiles == len(before.coords)
    assert first.n_reused_tiles == 0
    bench.draw(ignore=(900, 900, 1500, 1400), corner=(0, 0, 400, 300))
    drawn = bench.outline.read_bytes()
    second, n_second = bench.run()
    after = bench.tiles()
    gone, new = places(before) - places(after), places(after) - places(before)
    assert gone
    assert new
    assert n_second == len(new) == (second.n_tiles or 0) - (second.n_reused_tiles or 0)
    assert "edited_tissue" in second.flags
    assert bench.outline.read_bytes() == drawn
    # As a run that starts from nothing with the same mask, but that the manifest names it.
    mask = tmp_path / "drawn.geojson"
    mask.write_bytes(drawn)
    entry = replace(bench.job.entry, ref=replace(bench.job.entry.ref, mask=mask))
    fresh = Bench(replace(bench.job, entry=entry, folder=tmp_path / "fresh"))
    run_slide(fresh.job)
    assert digest(fresh.job.folder / "tiles.h5") == digest(bench.job.folder / "tiles.h5")


def test_an_edit_keeps_what_was_measured_and_left_out(bench: Bench, tmp_path: Path) -> None:
    config = bench.job.config.model_copy(update={"quality": QualityConfig()})
    limited = Bench(replace(bench.job, config=config))
    limited.run()
    limited.draw(corner=(0, 0, 400, 300))  # on glass: new tiles that are left out
    record, _ = limited.run()
    assert record.excluded["blank"] > 0
    fresh = Bench(replace(limited.job, folder=tmp_path / "fresh"))
    fresh.job.folder.mkdir()
    (fresh.job.folder / "tissue.geojson").write_bytes(limited.outline.read_bytes())
    run_slide(fresh.job)
    assert digest(fresh.job.folder / "tiles.h5") == digest(limited.job.folder / "tiles.h5")


def test_an_edit_is_used_until_the_file_is_deleted(bench: Bench) -> None:
    detected, n_detected = bench.run()
    untouched = bench.outline.read_bytes()
    assert "edited_tissue" not in detected.flags
    bench.draw(ignore=(900, 900, 1500, 1400))
    edited, n_edited = bench.run()
    assert n_edited == 0  # nothing new in it
    assert (edited.n_tiles or 0) < n_detected
    again, n_again = bench.run()
    assert (again.flags, again.n_tiles, n_again) == (edited.flags, edited.n_tiles, 0)
    assert set(again.reused) == {"tissue", "pyramid", "embed", "preview"}
    bench.outline.unlink()
    back, n_back = bench.run()
    assert back.flags == detected.flags
    assert back.n_tiles == n_detected
    assert n_back == n_detected - (edited.n_tiles or 0)
    assert bench.outline.read_bytes() == untouched


def test_what_was_drawn_on_another_slide_is_not_used(bench: Bench, tmp_path: Path) -> None:
    bench.run()
    bench.draw(ignore=(900, 900, 1500, 1400))
    bench.run()
    drawn = bench.outline.read_bytes()
    rescan = write_slide(tmp_path / "s.svs", Specimen(seed=8, width=2200, height=2300))
    other = SlideRef(path=rescan, slide_id="s")
    bench.job = replace(bench.job, entry=replace(bench.job.entry, ref=other))
    for _ in range(2):
        with pytest.raises(MaskError, match=r"drawn on another slide .*: remove it"):
            bench.run()
        assert bench.outline.read_bytes() == drawn
    (bench.job.folder / "receipt.json").unlink()
    assert "edited_tissue" in bench.run()[0].flags


def test_receipts_list_the_outline(bench: Bench) -> None:
    bench.run()
    assert bench.receipt()["tissue"]["outputs"] == {"tissue.geojson": digest(bench.outline)}
    bench.draw(ignore=(900, 900, 1500, 1400))
    bench.run()
    assert bench.receipt()["tissue"]["outputs"] == {"tissue.geojson": digest(bench.outline)}


def test_saved_again_without_a_change_costs_nothing(bench: Bench) -> None:
    _, n_first = bench.run()
    before = bench.tiles()
    bench.draw()
    record, n_second = bench.run()
    assert n_first
    assert n_second == 0
    assert "edited_tissue" in record.flags
    np.testing.assert_array_equal(bench.tiles().coords, before.coords)


def test_a_broken_edit_is_an_error_and_stays(bench: Bench) -> None:
    bench.run()
    bench.outline.write_text("{")
    with pytest.raises(MaskError, match=r"tissue\.geojson is no JSON"):
        bench.run()
    assert bench.outline.read_text() == "{"


def test_less_tissue_in_a_tile_is_only_another_choice(bench: Bench) -> None:
    _, n_first = bench.run()
    record, n_more = bench.run(min_tissue_fraction=0.05)
    assert 0 < n_more == (record.n_tiles or 0) - n_first


@pytest.mark.parametrize(
    "config", [{"stride_px": 32}, {"feature_dtype": "float32"}], ids=["stride", "precision"]
)
def test_anything_else_is_embedded_anew(bench: Bench, config: dict[str, Any]) -> None:
    bench.run()
    bench.draw(ignore=(900, 900, 1500, 1400))
    record, n_second = bench.run(**config)
    assert n_second == record.n_tiles
    assert record.n_reused_tiles == 0


def test_tiles_that_are_not_as_they_were_written_are_not_trusted(bench: Bench) -> None:
    bench.run()
    bench.draw(ignore=(900, 900, 1500, 1400))
    with (bench.job.folder / "tiles.h5").open("ab") as file:
        file.write(b"more")
    record, n_second = bench.run()
    assert n_second == record.n_tiles


def test_killed_while_embedding_loses_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run()
    bench.draw(corner=(0, 0, 400, 300))

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(embed_step, "write_tiles", die)
        with pytest.raises(KeyboardInterrupt):
            bench.run()
    record, n_again = bench.run()
    assert n_again == (record.n_tiles or 0) - (record.n_reused_tiles or 0) > 0
    assert record.n_reused_tiles


def test_unreadable_tiles_are_known_too(bench: Bench, damage_tile: Any) -> None:
    path = damage_tile(bench.job.entry.ref.path, 40)
    ref = replace(bench.job.entry.ref, path=path)
    bench.job = replace(bench.job, entry=replace(bench.job.entry, ref=ref))
    first, _ = bench.run()
    assert first.n_invalid_tiles
    bench.draw(corner=(0, 0, 400, 300))
    second, n_second = bench.run()
    assert second.n_invalid_tiles == first.n_invalid_tiles
    assert n_second == (second.n_tiles or 0) - (first.n_tiles or 0)


def test_what_else_is_in_a_batch_changes_an_embedding_by_no_more_than_rounding() -> None:
    encoder = create_encoder("resnet18", spec=SPEC)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)
    together = encoder.embed(pixels)
    for start, end in ((0, 1), (1, 4), (4, 7)):
        alone = encoder.embed(pixels[start:end])
        np.testing.assert_allclose(alone, together[start:end], rtol=1e-5, atol=1e-6)
