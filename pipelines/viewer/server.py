"""`raypath view`: a small web server over a run's folder, for this machine's browser.

Everything is read only, and only files of slides that the run lists are served.
"""

import json
import mimetypes
import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipelines.errors import UsageError
from pipelines.nuclei.geojson import outlines_within
from pipelines.pixels import NoSuchTileError, encode_jpeg, read_tile, thumbnail
from pipelines.unreadable import hatch, unreadable_areas
from pipelines.viewer.headers import SafeHeaders
from pipelines.viewer.library import Library, UnknownSlideError
from pipelines.viewer.overlays import heatmap_png, tissue_rings
from pipelines.viewer.segmentation import label_png
from wsi.errors import RayPathError

STATIC = Path(__file__).parent / "static"
OPENSEADRAGON = STATIC / "openseadragon" / "openseadragon.min.js"
THUMBNAIL_PX = 192
LOOPBACK = ("127.0.0.1", "localhost")


class MissingOpenSeadragonError(UsageError, FileNotFoundError):
    """The JavaScript library that shows the slides has not been put in place."""

    kind = "no_openseadragon"


class PortInUseError(UsageError, OSError):
    """The address to listen on cannot be had."""

    kind = "port_in_use"


def create_app(out: Path) -> Starlette:
    """The viewer of the run in folder `out`.

    Raises
    ------
    NotARunError
        If `out` holds no run.
    MissingOpenSeadragonError
        If ``make viewer`` has not been run.
    """
    if not OPENSEADRAGON.exists():
        raise MissingOpenSeadragonError(
            "the viewer needs OpenSeadragon, which is not there: run 'make viewer' in the "
            "repository (it needs npm, which comes with Node.js), then this command again"
        )
    mimetypes.add_type("text/javascript", ".js")  # some systems' tables say text/plain
    pages = _Pages(Library(Path(out)))
    slide = "/api/slides/{slide_id:path}"
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/api/run", pages.run),
            Route(slide + "/thumbnail.jpg", pages.thumbnail),
            Route(slide + "/tissue.json", pages.tissue),
            Route(slide + "/nuclei/{column:int}_{row:int}.json", pages.nuclei),
            Route(slide + "/tiles/{level:int}/{column:int}_{row:int}.jpg", pages.tile),
            Route(slide + "/labels/{level:int}/{column:int}_{row:int}.png", pages.labels),
            Route(slide + "/heatmap/{channel:int}.png", pages.heatmap),
            Route(slide + "/heatmap/{channel:int}.f32", pages.values),
            Route(slide + "/heatmap/looked.u8", pages.looked),
            Route(slide, pages.slide),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(SafeHeaders)],
        exception_handlers={
            HTTPException: _refuse,
            UnknownSlideError: _not_found,
            NoSuchTileError: _not_found,
            Exception: _broken,
        },
    )


def serve(
    out: Path, *, host: str = "127.0.0.1", port: int = 8000, open_browser: bool = False
) -> None:
    """Serve the run in folder `out` until interrupted.

    Listening on another `host` than this machine's own shows the slides to whoever reaches it:
    there is no password.

    Parameters
    ----------
    port
        0 for any that is free.

    Raises
    ------
    PortInUseError
        If `host` and `port` cannot be listened on; and what `create_app` raises.
    """
    app = create_app(out)
    if host in LOOPBACK:  # a page elsewhere cannot reach us under a name of its own
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(LOOPBACK))
    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        raise PortInUseError(f"cannot listen on {host}:{port}: {error}; try --port 0") from error
    with listening:
        url = f"http://{host}:{listening.getsockname()[1]}/"
        config = uvicorn.Config(app, log_level="warning")
        _Server(config, url=url, open_browser=open_browser).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Says where it listens once it does."""

    def __init__(self, config: uvicorn.Config, *, url: str, open_browser: bool) -> None:
        super().__init__(config)
        self.url, self.open_browser = url, open_browser

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then tell."""
        from rich.console import Console

        await super().startup(sockets)
        Console(highlight=False).print(f"Showing the slides at {self.url} (Ctrl+C stops)")
        if self.open_browser:
            webbrowser.open(self.url)


class _Pages:
    """The answers; plain functions, which Starlette runs in threads: reading blocks nobody."""

    def __init__(self, library: Library) -> None:
        self.library = library

    def index(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    def run(self, request: Request) -> Response:
        return JSONResponse(self.library.listing())

    def slide(self, request: Request) -> Response:
        return JSONResponse(self.library.describe(request.path_params["slide_id"]))

    def thumbnail(self, request: Request) -> Response:
        slide_id = request.path_params["slide_id"]
        _, version = self.library.image(slide_id)

        def render() -> bytes:
            pyramid = self.library.pyramid(slide_id)
            pixels = thumbnail(pyramid, longest_px=THUMBNAIL_PX)
            downsample = pyramid.level_dimensions[0][0] / pixels.shape[1]
            pixels = hatch(pixels, unreadable_areas(pyramid.path), downsample=downsample)
            return encode_jpeg(pixels, quality=80)

        return _cached(request, version, "image/jpeg", render)

    def tissue(self, request: Request) -> Response:
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


def _refuse(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    return JSONResponse({"kind": "http", "error": detail}, status_code=status)


def _not_found(request: Request, error: Exception) -> Response:
    kind = error.kind if isinstance(error, RayPathError) else "error"
    return JSONResponse({"kind": kind, "error": str(error)}, status_code=404)


def _broken(request: Request, error: Exception) -> Response:
    """Answer for a slide whose files are damaged; the other slides are not concerned."""
    message = f"the files of this slide cannot be read: {type(error).__name__}: {error}"
    return JSONResponse({"kind": "broken", "error": message}, status_code=500)
