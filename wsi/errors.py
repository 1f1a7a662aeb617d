"""What can be wrong with a slide, as types whose `kind` ends up in the slide's verdict."""

import errno
from typing import ClassVar

# What the system says where a disk, a quota or a limit on a file's size is exhausted.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class RayPathError(Exception):
    """Base of every error this project raises on purpose; `kind` is its machine-readable name."""

    kind: ClassVar[str] = "error"


class SlideError(RayPathError):
    """One slide cannot be used as asked; the other slides of a run are not concerned."""

    kind = "slide_error"


class SlideNotFoundError(SlideError, FileNotFoundError):
    """There is no file at the slide's path."""

    kind = "not_found"


class SlidePermissionError(SlideError, PermissionError):
    """The slide's file, or a folder on the way to it, may not be read by who runs this."""

    kind = "not_readable"


class UnreachableSlideError(SlideError, OSError):
    """The slide's storage does not answer, or does not let us in."""

    kind = "unreachable"


class UnsupportedSlideError(SlideError, ValueError):
    """No reader opens the file."""

    kind = "unsupported"


class TruncatedSlideError(SlideError, ValueError):
    """The file ends before what it says it holds: a copy or a download broke off."""

    kind = "truncated"


class ImplausibleSizeError(SlideError, ValueError):
    """The slide is larger than any glass, by what it says of its pixels and their size."""

    kind = "implausible_size"


class UnreadableRegionError(SlideError, OSError):
    """The slide opened, but a region of it does not decode."""

    kind = "unreadable_region"


class ResolutionError(SlideError, ValueError):
    """Micrometres per pixel are implausible, contradictory, or coarser than asked for."""

    kind = "resolution"


class MissingResolutionError(ResolutionError):
    """Nothing in the file or from the caller says how large a pixel is."""

    kind = "no_mpp"


class SourceChangedError(SlideError, OSError):
    """The slide's file is not what it was when the work on it began."""

    kind = "slide_changed"


class OutputError(RayPathError, OSError):
    """The result cannot be written."""

    kind = "output"


class DiskFullError(OutputError):
    """There is no room left, or a quota is reached."""

    kind = "disk_full"


class OutputPermissionError(OutputError):
    """Writing there is not allowed."""

    kind = "not_writable"


class UnreachableOutputError(OutputError):
    """The storage of the results does not answer."""

    kind = "output_unreachable"


class NotBrightfieldError(SlideError, ValueError):
    """The slide is not light tissue on a bright background (fluorescence, for example)."""

    kind = "not_brightfield"


class NoTissueError(SlideError, ValueError):
    """The slide opened, and holds nothing to look at."""

    kind = "no_tissue"


class PoorQualityError(SlideError, ValueError):
    """The slide has tissue, and every tile of it is left out for its quality."""

    kind = "poor_quality"


class MaskError(SlideError, ValueError):
    """A given tissue mask cannot be laid over its slide."""

    kind = "mask"
