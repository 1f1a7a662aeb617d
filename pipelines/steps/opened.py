"""A slide that is open and was looked at: what every step of a run works on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.blockwise.frame import BlockFrame, lay_frame
from pipelines.blockwise.work import blocks_folder
from pipelines.settings.config import RunConfig
from pipelines.steps.look import Look
from wsi.ref import SlideRef
from wsi.slide import Slide


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An open slide, what is known of it, the settings, and the folder for its results.

    Attributes
    ----------
    source
        Digest of the slide's content, see `wsi.identity.content_digest`.
    """

    slide: Slide
    ref: SlideRef
    look: Look
    config: RunConfig
    folder: Path
    source: str

    def lay_frame(self, network_mpp: float, *, core_px: int) -> BlockFrame:
        """The pixels in which a network made for `network_mpp` looks; raises as `lay_frame`."""
        mpp = self.look.resolution.mpp
        return lay_frame(self.slide, level0_mpp=mpp, network_mpp=network_mpp, core_px=core_px)

    def blocks_folder(self, step: str, depends: dict[str, Any]) -> Path:
        """Where a step's blocks are kept; `depends` is what they depend on besides the slide."""
        depends = depends | {"level0_mpp": self.look.resolution.mpp}
        return blocks_folder(self.folder, step, source=self.source, depends=depends)
