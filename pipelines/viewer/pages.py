"""What the viewer answers to each of its addresses."""

import json
from collections.abc import Callable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from pipelines.nuclei.geojson import outlines_within
from pipelines.pixels import encode_jpeg, read_tile
from pipelines.unreadable import small_picture
from pipelines.viewer.library import Library
from pipelines.viewer.overlays import heatmap_png, tissue_rings
from pipelines.viewer.segmentation import label_png

STATIC = Path(__file__).parent / "static"
THUMBNAIL_PX = 192


class Pages:
    """The answers; plain functions, which Starlette runs in threads: reading blocks nobody."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def index(self, request: Request) -> Response:
        """The page itself."""
        return FileResponse(STATIC / "index.html")

    def run(self, request: Request) -> Response:
        """The run and its slides."""
        return JSONResponse(self.library.listing())

    def slide(self, request: Request) -> Response:
        """What there is of a slide: its size, levels, heatmaps and nuclei."""
        return JSONResponse(self.library.describe(request.path_params["slide_id"]))

    def thumbnail(self, request: Request) -> Response:
        """The whole slide, small, with what could not be read hatched."""
        slide_id = request.path_params["slide_id"]
        _, version = self.library.image(slide_id)

        def render() -> bytes:
            pixels, _ = small_picture(self.library.pyramid(slide_id), longest_px=THUMBNAIL_PX)
            return encode_jpeg(pixels, quality=80)

        return _cached(request, version, "image/jpeg", render)

    def tissue(self, request: Request) -> Response:
        """Outlines of the tissue."""
        path, _ = self.library.image(request.path_params["slide_id"])
        return JSONResponse(tissue_rings(path))

    def nuclei(self, request: Request) -> Response:
        """Outlines of the nuclei in one cell of the slide."""
        asked = request.path_params
        table, version = self.library.nuclei(asked["slide_id"])

        def render() -> bytes:
            rings = outlines_within(table, column=asked["column"], row=asked["row"])
            return json.dumps(rings).encode()

        return _cached(request, version, "application/json", render)

    def tile(self, request: Request) -> Response:
        """A tile of the pyramid."""
        asked = request.path_params
        pyramid = self.library.pyramid(asked["slide_id"])
        _, version = self.library.image(asked["slide_id"])

        def render() -> bytes:
            tile = read_tile(
                pyramid, level=asked["level"], column=asked["column"], row=asked["row"]
            )
            return encode_jpeg(tile)

        return _cached(request, version, "image/jpeg", render)

    def labels(self, request: Request) -> Response:
        """A tile of the segmentation: a grey PNG whose grey is the label."""
        asked = request.path_params
        pyramid, version = self.library.labels(asked["slide_id"])

        def render() -> bytes:
            return label_png(
                pyramid, level=asked["level"], column=asked["column"], row=asked["row"]
            )

        return _cached(request, version, "image/png", render)

    def heatmap(self, request: Request) -> Response:
        """One plane as a picture, a pixel a cell."""
        heatmap, version = self.library.heatmap(request.path_params["slide_id"])
        channel = _channel(request, len(heatmap.channels))
        return _cached(request, version, "image/png", lambda: heatmap_png(heatmap, channel))

    def values(self, request: Request) -> Response:
        """One plane's numbers, little-endian float32, row by row; NaN where not looked at."""
        heatmap, version = self.library.heatmap(request.path_params["slide_id"])
        plane = heatmap.values[_channel(request, len(heatmap.channels))]
        media = "application/octet-stream"
        return _cached(request, version, media, lambda: plane.astype("<f4").tobytes())

    def looked(self, request: Request) -> Response:
        """A label a cell, one byte each, row by row: where the model looked, and why not."""
        heatmap, version = self.library.heatmap(request.path_params["slide_id"])
        labels = heatmap.looked
        if labels is None:
            raise HTTPException(404, "this heatmap does not say why there are cells without value")
        return _cached(request, version, "application/octet-stream", labels.tobytes)


def _cached(
    request: Request, version: str, media_type: str, render: Callable[[], bytes]
) -> Response:
    """What `render` gives, unless the browser has it from this version of the files."""
    headers = {"ETag": f'"{version}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(render(), media_type=media_type, headers=headers)


def _channel(request: Request, count: int) -> int:
    channel = int(request.path_params["channel"])
    if channel >= count:
        raise HTTPException(404, f"channel {channel}: there are {count}, from 0")
    return channel
