"""`raypath view`: a small web server over a run's folder, for this machine's browser.

Everything is read only, and only files of slides that the run lists are served.
"""

import errno
import html
import mimetypes
import socket
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from pipelines.errors import UsageError
from pipelines.pixels import NoSuchTileError
from pipelines.viewer.headers import SafeHeaders
from pipelines.viewer.library import Library, UnknownSlideError
from pipelines.viewer.pages import STATIC, Pages
from wsi.errors import RayPathError

OPENSEADRAGON = STATIC / "openseadragon" / "openseadragon.min.js"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class MissingOpenSeadragonError(UsageError, FileNotFoundError):
    """The JavaScript library that shows the slides has not been put in place."""

    kind = "no_openseadragon"


class PortInUseError(UsageError, OSError):
    """The address to listen on cannot be had."""

    kind = "port_in_use"


def create_app(out: Path, *, names: Sequence[str] = ("*",)) -> ASGIApp:
    """The viewer of the run in folder `out`.

    Parameters
    ----------
    names
        The host names it answers to, as URLs have them (``"[::1]"``); ``"*"`` for all.

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
    pages = Pages(Library(Path(out)))
    slide = "/api/slides/{slide_id:path}"
    app = Starlette(
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
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(names))],
        exception_handlers={
            HTTPException: _refuse,
            UnknownSlideError: _not_found,
            NoSuchTileError: _not_found,
            Exception: _broken,
        },
    )
    return SafeHeaders(app)  # around Starlette, which answers for its middleware's errors itself


def serve(
    out: Path, *, host: str = "127.0.0.1", port: int = 8000, open_browser: bool = False
) -> None:
    """Serve the run in folder `out` until interrupted.

    Listening on another `host` than this machine's own shows the slides to whoever reaches it:
    there is no password.

    Parameters
    ----------
    host
        A name, or an address of IPv4 or IPv6.
    port
        0 for any that is free.

    Raises
    ------
    PortInUseError
        If `host` and `port` cannot be listened on; and what `create_app` raises.
    """
    # On this machine alone, a page elsewhere cannot reach us under a name of its own.
    names = [_in_url(name) for name in LOOPBACK] if host in LOOPBACK else ("*",)
    app = create_app(out, names=names)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        hint = "; try --port 0" if error.errno == errno.EADDRINUSE else ""
        raise PortInUseError(f"cannot listen on {_in_url(host)}:{port}: {error}{hint}") from error
    with listening:
        url = f"http://{_in_url(host)}:{listening.getsockname()[1]}/"
        config = uvicorn.Config(app, log_level="warning")
        _Server(config, url=url, open_browser=open_browser).run(sockets=[listening])


def _in_url(host: str) -> str:
    """A host as URLs have it: an address of IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


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


def _refuse(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    if "text/html" in request.headers.get("accept", ""):  # a person typed the address
        path = html.escape(request.url.path)
        said = f"<p>{path}: {html.escape(detail)}.</p>" + '<p><a href="/">To the slides</a></p>'
        page = f'<!doctype html><html lang="en"><title>RayPath</title>{said}</html>'
        return HTMLResponse(page, status_code=status)
    return JSONResponse({"kind": "http", "error": detail}, status_code=status)


def _not_found(request: Request, error: Exception) -> Response:
    kind = error.kind if isinstance(error, RayPathError) else "error"
    return JSONResponse({"kind": kind, "error": str(error)}, status_code=404)


def _broken(request: Request, error: Exception) -> Response:
    """Answer for a slide whose files are damaged; the other slides are not concerned."""
    message = f"the files of this slide cannot be read: {type(error).__name__}: {error}"
    return JSONResponse({"kind": "broken", "error": message}, status_code=500)
