"""What can be wrong with the place where tasks are to run."""

from wsi.errors import RayPathError


class ClusterError(RayPathError, OSError):
    """The Ray cluster asked for cannot be used; nothing was run."""

    kind = "cluster"
