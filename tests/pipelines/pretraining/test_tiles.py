"""Tiles from images, arrays and slides."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.errors import LabelledDataError
from distill.teachers.labelled import Labelled
from pipelines.errors import UsageError
from pipelines.pretraining import tiles
from pipelines.pretraining.places import Place, cut, read_place, take_tiles, tile_coords
from pipelines.pretraining.sources import TileRequest, find_tiles
from pipelines.pretraining.tiles import read_tileset
from tests.conftest import MadeUp
from wsi import scratch
from wsi.open import open_slide
from wsi.plan import TileSpec, plan_read
from wsi.ref import SlideRef
from wsi.tiles import read_tile

REQUEST = TileRequest(spec=TileSpec(size_px=32, mpp=0.5), context_px=8)


def located(width: int, height: int) -> np.ndarray:
    """Red says the column and green the row."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    return np.stack([columns, rows, np.zeros_like(rows)], 2).astype(np.uint8)


def cut_whole(pixels: np.ndarray) -> np.ndarray:
    coords = tile_coords(pixels.shape[1], pixels.shape[0], REQUEST.spec.size_px)
    return cut(pixels, coords, REQUEST.spec, REQUEST.context_px)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize(("width", "height", "columns", "rows"), [(96, 64, 3, 2), (100, 65, 4, 3)])
def test_tiles_cover_an_image_and_know_their_surroundings(
    width: int, height: int, columns: int, rows: int
) -> None:
    tiles = cut_whole(located(width, height))
    assert tiles.shape == (rows * columns, 48, 48, 3)
    middles = tiles[:, 8:40, 8:40]
    seen = {(x, y) for tile in middles for x, y, _ in tile.reshape(-1, 3).tolist()}
    assert seen == {(x, y) for x in range(width) for y in range(height)}
    inner = tiles[columns + 1] if rows > 2 else tiles[1]
    left, top = inner[8, 8, :2].astype(int)
    assert inner[8, 0, 0] == left - 8  # true context inside the image
    assert tiles[0][8, 7, 0] == 0  # mirrored beyond its edge
    assert tiles[0][8, 0, 0] == 7
    assert top == inner[8, 8, 1]


def test_an_image_smaller_than_a_tile_is_mirrored_to_its_size() -> None:
    tiles = cut_whole(located(20, 32))
    assert tiles.shape == (1, 48, 48, 3)
    assert tiles[0, 8:40, 14:34, 0].tolist() == [list(range(20))] * 32
    assert tiles[0, 8, 13, 0] == 0


def test_images_of_a_folder_are_resampled_and_grouped_by_patient(tmp_path: Path) -> None:
    save(tmp_path / "TCGA-21-5784-01Z.png", located(128, 64))
    save(tmp_path / "deep" / "TCGA-21-5784-02Z.webp", located(64, 64))
    save(tmp_path / "other.jpg", located(64, 64))
    (tmp_path / "notes.txt").write_text("no image")
    tiles = read_tileset([str(tmp_path)], [0.25], REQUEST)
    assert len(tiles) == 4
    assert tiles.sources.tolist() == [0, 0, 0, 1]
    assert tiles.spec == REQUEST.spec
    assert tiles.instances is None
    row = tiles.pixels[0, 16, 4:-4, 0].astype(float)
    np.testing.assert_allclose(np.diff(row), 2, atol=1)  # at twice the step


def test_a_table_may_say_whose_each_image_is(tmp_path: Path) -> None:
    names = ("left", "other", "right")
    for name in names:
        save(tmp_path / "images" / f"{name}.png", located(32, 32))
    table = tmp_path / "cases.csv"
    table.write_text("name,case\nleft,p1\nright,p1\nother,p2\n")
    assert read_tileset([str(tmp_path)], [0.5], REQUEST).sources.tolist() == [0, 1, 0]
    table.write_text("name,case\nleft,p1\nright,p1\n")
    with pytest.raises(LabelledDataError, match=r"cases.csv: no row, or no case: other"):
        read_tileset([str(tmp_path)], [0.5], REQUEST)


def test_sources_of_several_kinds_are_joined(tmp_path: Path, synthetic: MadeUp) -> None:
    save(tmp_path / "images" / "a.png", located(64, 32))
    arrays = tmp_path / "b.npz"
    np.savez(arrays, pixels=np.zeros((3, 32, 32, 3), np.uint8), sources=[4, 4, 9])
    tiles = read_tileset(
        [str(tmp_path / "images"), str(arrays), str(synthetic.path)],
        [0.5, 0.5, None],
        replace(REQUEST, slide_tiles=5),
    )
    assert len(tiles) == 2 + 3 + 5
    assert len(set(tiles.sources.tolist())) == 1 + 2 + 1
    assert tiles.pixels[-5:].std() > 5


def test_a_folder_without_images_is_one_of_slides(tmp_path: Path, synthetic: MadeUp) -> None:
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / synthetic.path.name).symlink_to(synthetic.path)
    request = replace(REQUEST, slide_tiles=5)
    tiles, of_slide = (
        read_tileset([str(source)], [None], request)
        for source in (tmp_path / "slides", synthetic.path)
    )
    np.testing.assert_array_equal(tiles.seen, of_slide.seen)


def test_a_slide_without_room_for_a_tile_is_left_out(tmp_path: Path, synthetic: MadeUp) -> None:
    strip = np.zeros((65, 75), np.uint8)  # a twentieth of the slide
    strip[30, 10:50] = 255
    save(tmp_path / "strip.png", strip)
    manifest = tmp_path / "slides.csv"
    rows = [f"{synthetic.path},whole,", f"{synthetic.path},thin,{tmp_path / 'strip.png'}"]
    manifest.write_text("\n".join(["path,slide_id,mask", *rows]))
    request = replace(REQUEST, spec=TileSpec(size_px=256, mpp=0.5))
    assert [place.case for place in find_tiles([str(manifest)], [None], request)] == ["whole"]
    manifest.write_text(f"path,slide_id,mask\n{rows[1]}")
    with pytest.raises(UsageError, match=r"thin: no tile of 256 px at 0\.5 µm .*smaller"):
        find_tiles([str(manifest)], [None], request)


def test_a_slide_without_tissue_is_left_out_and_said(tmp_path: Path, synthetic: MadeUp) -> None:
    save(tmp_path / "nothing.png", np.zeros((65, 75), np.uint8))
    manifest = tmp_path / "slides.csv"
    blank = tmp_path / f"blank{synthetic.path.suffix}"
    blank.symlink_to(synthetic.path)
    rows = [f"{blank},blank,{tmp_path / 'nothing.png'}", f"{synthetic.path},whole,"]
    manifest.write_text("\n".join(["path,slide_id,mask", *rows]))
    said: list[str] = []
    places = find_tiles([str(manifest)], [None], REQUEST, say=said.append)
    assert [place.case for place in places] == ["whole"]
    (line,) = said
    assert line.startswith(f"{blank} is left out: nothing is tissue in the mask")


def test_a_slide_that_cannot_be_used_is_named(tmp_path: Path, synthetic: MadeUp) -> None:
    manifest = tmp_path / "slides.csv"
    manifest.write_text(f"path,mask\n{synthetic.path},{tmp_path / 'gone.png'}")
    with pytest.raises(UsageError, match=rf"{synthetic.path}: .*gone\.png"):
        find_tiles([str(manifest)], [None], REQUEST)


def test_labels_are_cut_with_their_pixels(tmp_path: Path) -> None:
    pixels = located(64, 64)
    labels = np.zeros((64, 64), np.uint16)
    labels[10:30, 40:60] = 300
    pixels[labels > 0] = 255
    save(tmp_path / "images" / "a.png", pixels)
    save(tmp_path / "instances" / "a.png", labels)
    tiles = read_tileset([str(tmp_path)], [0.25], replace(REQUEST, labelled=True))
    assert tiles.instances is not None
    assert tiles.instances.shape == tiles.seen.shape[:3] == (1, 48, 48)
    assert set(np.unique(tiles.instances)) == {0, 300}
    assert tiles.seen[tiles.instances > 0].min(1).mean() > 200
    assert tiles.seen[tiles.instances == 0][:, 2].mean() < 30


def test_slides_of_one_patient_are_of_one_source(tmp_path: Path, synthetic: MadeUp) -> None:
    rows = [("a", "p1"), ("b", "p2"), ("c", "p1"), ("TCGA-21-5784-01", ""), ("TCGA-21-5784-02", "")]
    manifest = tmp_path / "manifest.csv"
    lines = (f"{synthetic.path},{slide},{patient}" for slide, patient in rows)
    manifest.write_text("\n".join(["path,slide_id,patient_id", *lines]))
    places = find_tiles([str(manifest)], [None], replace(REQUEST, slide_tiles=2))
    assert [place.case for place in places] == ["p1", "p2", "p1", *["TCGA-21-5784"] * 2]
    sources = [set(place.sources.tolist()) for place in places]
    assert sources[0] == sources[2]
    assert sources[3] == sources[4]
    assert len(set().union(*sources)) == 3


def test_what_images_say_of_themselves_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CoNSeP's layout says 0.25 µm; one --mpp for all folders is for the others."""
    image = Labelled(
        pixels=located(64, 64),
        instances=np.eye(64, dtype=np.int32),
        name="a",
        case="a",
        mpp=0.25,
    )
    monkeypatch.setattr(tiles, "read_labelled", lambda source: [image])
    read = read_tileset([str(tmp_path)], [0.5], replace(REQUEST, labelled=True))
    assert len(read) == 1  # 64 px at 0.25 µm are 32 px at 0.5


def test_what_cannot_be_cut_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder, empty = tmp_path / "images", tmp_path / "empty"
    save(folder / "a.png", located(64, 64))
    empty.mkdir()
    with pytest.raises(UsageError, match="give --mpp"):
        read_tileset([str(folder)], [None], REQUEST)
    with pytest.raises(UsageError, match=r"--tile-mpp 0\.62, or --upsample"):
        read_tileset([str(folder)], [0.62], REQUEST)
    assert len(read_tileset([str(folder)], [0.62], replace(REQUEST, upsample=True))) == 9
    with pytest.raises(UsageError, match=r"holds no images .*, and no slides below"):
        read_tileset([str(empty)], [0.5], REQUEST)
    with pytest.raises(LabelledDataError, match="no labelled nuclei"):
        read_tileset([str(folder)], [0.5], replace(REQUEST, labelled=True))
    (folder / "b.png").write_bytes(b"not a picture")
    with pytest.raises(UsageError, match=r"b\.png cannot be read as an image"):
        read_tileset([str(folder)], [0.5], REQUEST)
    np.savez(tmp_path / "c.npz", images=np.zeros(3))
    with pytest.raises(UsageError, match="an array 'pixels'"):
        read_tileset([str(tmp_path / "c.npz")], [0.5], REQUEST)


def test_an_image_too_large_for_pillow_is_to_be_given_as_a_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "a.png", located(64, 64))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UsageError, match=r"a\.png: limit 100_000_000 px: give it as a slide"):
        read_tileset([str(tmp_path)], [0.5], REQUEST)


def test_arrays_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for content in (None, b"", b"PK\x03\x04xx", b"no arrays"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(UsageError, match=r"a\.npz cannot be read as arrays"):
            read_tileset([str(path)], [0.5], REQUEST)
    np.savez(path, pixels=np.zeros((0, 64, 64, 3), np.uint8))
    with pytest.raises(UsageError, match="of no image"):
        read_tileset([str(path)], [0.5], REQUEST)
    np.savez(path, pixels=np.zeros((1, 64, 64, 3), np.uint8), instances=-np.ones((1, 64, 64), int))
    with pytest.raises(UsageError, match=r"'instances' is -1; 0 for background"):
        read_tileset([str(path)], [0.5], replace(REQUEST, labelled=True))


def test_a_place_says_where_its_tiles_are_and_travels(tmp_path: Path, synthetic: MadeUp) -> None:
    save(tmp_path / "images" / "a.png", located(96, 64))
    np.savez(tmp_path / "b.npz", pixels=np.stack([located(64, 32)] * 2))
    sources = [str(tmp_path / "images"), str(tmp_path / "b.npz"), str(synthetic.path)]
    request = replace(REQUEST, slide_tiles=4)
    places = find_tiles(sources, [0.5, 0.5, None], request)
    assert [len(place) for place in places] == [6, 4, 4]
    image, arrays, slide = places
    x, y = image.coords[4]
    assert read_place(image)[4, 8, 8, :2].tolist() == [x, y]
    assert arrays.numbers.tolist() == [0, 0, 1, 1]
    with open_slide(SlideRef.of(synthetic.path)) as opened:
        spec = TileSpec(size_px=32, mpp=0.5)
        plan = plan_read(spec, level0_mpp=slide.level0_mpp, downsamples=opened.level_downsamples)
        x, y = slide.coords[2].tolist()
        alone = read_tile(opened, spec=spec, plan=plan, x=x, y=y)
    middle = read_place(slide)[2, 8:40, 8:40].astype(int)
    assert np.abs(middle - alone).mean() < 2
    assert len(pickle.dumps(places)) < 4000


def test_tiles_are_taken_by_number_over_all_places(tmp_path: Path) -> None:
    for name in "abc":
        save(tmp_path / f"{name}.png", located(64, 64))
    places = find_tiles([str(tmp_path)], [0.5], REQUEST)
    whole = np.concatenate([read_place(place) for place in places])
    for part in (slice(0, 3), slice(3, 9), slice(5, 6), slice(8, 12), slice(0, 12)):
        taken: list[Place] = take_tiles(places, part)
        np.testing.assert_array_equal(
            np.concatenate([read_place(place) for place in taken]), whole[part]
        )


def test_tiles_that_do_not_fit_into_memory_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        save(tmp_path / "images" / name, generator.integers(256, size=(70, 40, 3), dtype=np.uint8))
    inside = read_tileset([str(tmp_path / "images")], [0.5], REQUEST)
    monkeypatch.setattr(scratch, "IN_MEMORY", 0)
    outside = read_tileset([str(tmp_path / "images")], [0.5], REQUEST)
    assert isinstance(outside.seen, np.memmap)
    np.testing.assert_array_equal(outside.seen, inside.seen)
    np.testing.assert_array_equal(outside.pixels[[3, 1]], inside.pixels[[3, 1]])
