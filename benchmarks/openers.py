"""How each reader is asked for a pyramid: its first and last level, and what it says of it."""

import json
import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

# Finest and coarsest level (c, y, x), mpp, axes, whether tissue is found; None: not offered.
Seen = tuple[Any, Any, float | None, str | None, bool | None]
LIBRARIES = ("zarrita", "@hms-dbmi/viv", "ome-zarr.js")  # of npm


def _arrays(path: Path, open_array: Callable[[str], Any]) -> Seen:
    names = sorted((p.name for p in path.iterdir() if p.name.isdigit()), key=int)
    return open_array(str(path / names[0])), open_array(str(path / names[-1])), None, None, None


def _read_zarr(path: Path, module: Any) -> Seen:
    return _arrays(path, partial(module.open_array, mode="r"))


def _read_zarrs(path: Path, _: Any) -> Seen:
    import zarr

    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return _read_zarr(path, zarr)


def _read_tensorstore(path: Path, module: Any) -> Seen:
    def open_array(array: str) -> Any:
        driver = "zarr3" if (path / "zarr.json").exists() else "zarr"
        spec = {"driver": driver, "kvstore": {"driver": "file", "path": array}}
        return module.open(spec).result()

    return _arrays(path, open_array)


def _read_ome_zarr(path: Path, module: Any) -> Seen:
    from ome_zarr.io import parse_url

    image, *others = module.Reader(parse_url(str(path)))()
    mpp = image.metadata["coordinateTransformations"][0][0]["scale"][-1]
    axes = "".join(axis["name"] for axis in image.metadata["axes"])
    tissue = any(n.metadata.get("name") == "tissue" and bool(n.data[0].any()) for n in others)
    return image.data[0], image.data[-1], mpp, axes, tissue


def _read_napari(path: Path, module: Any) -> Seen:
    layers = module.napari_get_reader(str(path))(str(path))
    images = [levels for levels, _, kind in layers if kind == "image"]
    tissue = any(kind == "labels" and bool(levels[0].any()) for levels, _, kind in layers)
    axes = f"{len(images)} layers {''.join(layers[0][1]['axis_labels'])}"
    fine, coarse = (np.stack([levels[n] for levels in images]) for n in (0, -1))
    return fine, coarse, layers[0][1]["scale"][-1], axes, tissue


def _read_ngff_zarr(path: Path, module: Any) -> Seen:
    images = module.from_ome_zarr(str(path), validate=True).images
    label = module.from_ome_zarr(str(path / "labels" / "tissue"), validate=True).images[0]
    axes, tissue = "".join(images[0].dims), bool(label.data.any())  # by path: it lists no labels
    return images[0].data, images[-1].data, images[0].scale["x"], axes, tissue


def _read_models(path: Path, module: Any) -> Seen:
    import zarr

    group = zarr.open_group(str(path), mode="r")
    attributes = module.open_ome_zarr(group).attributes
    (image,) = getattr(attributes, "ome", attributes).multiscales
    label = module.open_ome_zarr(group["labels/tissue"])
    mpp = image.datasets[0].coordinateTransformations[0].scale[-1]
    return None, None, mpp, "".join(axis.name for axis in image.axes), label is not None


def _read_bioio(path: Path, module: Any) -> Seen:
    image = module.BioImage(str(path))
    fine, mpp = image.get_image_data("CYX"), image.physical_pixel_sizes.X
    image.set_resolution_level(image.resolution_levels[-1])
    return fine, image.get_image_data("CYX"), mpp, image.dims.order, None


def _read_tiatoolbox(path: Path, module: Any) -> Seen:
    slide = module.WSIReader.open(str(path))
    size = slide.info.level_dimensions[0]  # its levels are all read from the finest
    fine = slide.read_rect((0, 0), size, resolution=0, units="level").transpose(2, 0, 1)
    return fine, None, slide.info.mpp[0], slide.info.axes, None


def _read_large_image(path: Path, module: Any) -> Seen:
    slide = module.open(str(path / ".zattrs"))  # it opens files, no folders
    frames = [slide.getRegion(frame=n, format="numpy")[0][..., 0] for n in range(3)]
    return np.stack(frames), None, slide.getMetadata()["mm_x"] * 1000, "3 frames yx", None


def read_node(path: Path, folder: Path, library: str) -> Seen:
    """Read with one of `LIBRARIES`, which npm has put into `folder`."""
    code = Path(__file__).with_suffix(".mjs").read_text(encoding="utf-8")
    last = max(int(p.name) for p in path.iterdir() if p.name.isdigit())
    call = ["node", "--input-type=module", "-e", code, library, str(path.resolve()), str(last)]
    done = subprocess.run(call, cwd=folder, capture_output=True, check=False)
    if done.returncode:
        said = re.search(r"^\w*Error\b.*", done.stderr.decode(), re.MULTILINE)
        raise RuntimeError(said[0] if said else done.stderr.decode()[-300:])
    head, _, data = done.stdout.partition(b"\n")
    found, at, seen = json.loads(head), 0, []
    for shape in found["shapes"]:
        count = int(np.prod(shape))
        pixels = np.frombuffer(data, np.uint8, count, at).reshape(shape)
        seen.append(pixels[..., :3].transpose(2, 0, 1) if shape[2] == 4 else pixels)
        at += count
    return seen[0], seen[1], found.get("mpp"), found.get("axes"), found.get("tissue")


READERS: dict[str, tuple[str, Callable[[Path, Any], Seen]]] = {  # distribution: module, reader
    "zarr": ("zarr", _read_zarr),
    "zarrs": ("zarrs", _read_zarrs),
    "dask": ("dask.array", lambda path, module: _arrays(path, module.from_zarr)),
    "tensorstore": ("tensorstore", _read_tensorstore),
    "ome-zarr": ("ome_zarr.reader", _read_ome_zarr),
    "ome-zarr-models": ("ome_zarr_models", _read_models),
    "napari-ome-zarr": ("napari_ome_zarr", _read_napari),
    "ngff-zarr": ("ngff_zarr", _read_ngff_zarr),
    "bioio-ome-zarr": ("bioio", _read_bioio),
    "tiatoolbox": ("tiatoolbox.wsicore.wsireader", _read_tiatoolbox),
    "large-image-source-zarr": ("large_image_source_zarr", _read_large_image),
}
