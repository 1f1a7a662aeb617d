"""The heads by name, as cards and the command line call them."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial

from distill.card import HeadKind
from distill.errors import ModelError
from pipelines.mil.heads.abmil import GatedAbmil
from pipelines.mil.heads.acmil import Acmil
from pipelines.mil.heads.clam import Clam
from pipelines.mil.heads.dsmil import Dsmil
from pipelines.mil.heads.dtfd import Dtfd
from pipelines.mil.heads.head import Head
from pipelines.mil.heads.max import MaxPooling
from pipelines.mil.heads.mean import MeanPooling
from pipelines.mil.heads.transmil import TransMil

HEADS: Mapping[HeadKind, Callable[..., Head]] = {
    "mean": MeanPooling,
    "max": MaxPooling,
    "gated-abmil": GatedAbmil,
    "clam-sb": partial(Clam, multiple=False),
    "clam-mb": partial(Clam, multiple=True),
    "dsmil": Dsmil,
    "transmil": TransMil,
    "dtfd": Dtfd,
    "acmil": Acmil,
}


def size_names(kind: HeadKind) -> tuple[str, ...]:
    """Names of the sizes a kind of head can be built with."""
    parameters = inspect.signature(HEADS[kind]).parameters.values()
    return tuple(p.name for p in parameters if p.annotation is int and p.kind is p.KEYWORD_ONLY)


def create_head(kind: str, dim: int, classes: int, sizes: Mapping[str, int]) -> Head:
    """Build a head with random weights; sizes that are not given are the head's own.

    Raises
    ------
    ModelError
        If no head is called `kind`, or it has no such size, or no such size is possible.
    """
    name = next((known for known in HEADS if known == kind), None)
    if name is None:
        raise ModelError(f"no head is called {kind!r}: known are {', '.join(HEADS)}")
    for size, value in sizes.items():
        if size not in size_names(name):
            raise ModelError(f"{kind} has no size {size!r}: it has {', '.join(size_names(name))}")
        if value < 1:
            raise ModelError(f"{kind}: {size} = {value}, wanted 1 or more")
    return HEADS[name](dim, classes, **sizes)
