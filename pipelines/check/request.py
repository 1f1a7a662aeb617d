"""What of a run's request can be checked on a machine that need not see all that the run sees."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.cohort.manifest import MANIFEST_SUFFIXES, read_cohort
from pipelines.networks import read_networks
from pipelines.output import check_local
from pipelines.runfolder import image_path
from pipelines.settings.config import NETWORKS, RunConfig, load_config
from pipelines.settings.stride import check_stride
from wsi.remote import is_remote


def check_visible(
    slides: Sequence[str],
    out: Path,
    config: Path | None,
    flags: Mapping[str, Any],
    *,
    here: Path,
) -> list[str]:
    """Check a run's request with the run's own code, as far as its files are on this machine.

    Parameters
    ----------
    slides, out, config, flags
        As of `raypath run`; of `flags` those count that are keys of a configuration.
    here
        The folder that relative paths are within.

    Returns
    -------
    The manifest, configuration and networks that are not here, or behind a URL: all that is known
    of them is that the cluster has to see them.

    Raises
    ------
    ConfigError, ManifestError, ModelError, UsageError
        If the run would refuse the request.
    """
    if not is_remote(out):
        check_local(out)
    given = {key: _within(here, flags.get(key)) for key in RunConfig.model_fields}
    given = {key: value for key, value in given.items() if value not in (None, [])}
    unseen: list[str] = []
    file = _within(here, config)
    if file is not None and not file.exists():
        unseen.append(str(file))
        file = None
        if given.get("model") is None:
            given.pop("also", None)  # the first model is in the configuration
    settings = load_config(file, given)
    places = [place if "://" in place else str(here / place) for place in slides]
    manifests = [place for place in places if Path(place).suffix.lower() in MANIFEST_SUFFIXES]
    unread = [place for place in manifests if "://" in place or not Path(place).exists()]
    if not unread:
        results = out if is_remote(out) else here / out
        read_cohort(places, mpp=settings.mpp, result_of=partial(image_path, results))
    networks = [getattr(settings, key) for key in NETWORKS] + list(settings.also)
    elsewhere = [str(folder) for folder in networks if folder and not folder.exists()]
    if not elsewhere:
        read = read_networks(settings)
        if not unseen:  # else another model may be in the configuration
            check_stride(settings, read)
    return unread + unseen + elsewhere


def _within(here: Path, value: Any) -> Any:
    """A path, or each of several, within a folder; what is none as it is."""
    if isinstance(value, (list, tuple)):
        return [_within(here, each) for each in value]
    return here / value if isinstance(value, Path) else value
