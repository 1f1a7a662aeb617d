"""Errors end up as a slide's verdict, and travel between processes on the way."""

import importlib
import inspect
import pickle
import pkgutil

import pytest

import wsi
from wsi.errors import (
    MaskError,
    RayPathError,
    SlideError,
    SlideNotFoundError,
    UnreadableRegionError,
    UnsupportedSlideError,
)


def own_errors() -> list[type[BaseException]]:
    """Every exception that a module of `wsi` defines."""
    names = [module.name for module in pkgutil.walk_packages(wsi.__path__, "wsi.")]
    modules = [importlib.import_module(name) for name in names]
    found = {
        item
        for module in modules
        for _, item in inspect.getmembers(module, inspect.isclass)
        if issubclass(item, BaseException) and item.__module__ == module.__name__
    }
    return sorted(found, key=lambda item: item.__name__)


@pytest.mark.parametrize("error", own_errors(), ids=lambda error: error.__name__)
def test_every_error_names_its_kind_and_travels(error: type[RayPathError]) -> None:
    assert issubclass(error, RayPathError)
    assert error.__dict__["kind"].isidentifier()
    assert not issubclass(error, EOFError)  # which a command line takes for an interruption
    raised = error("what is wrong, and what to do")
    arrived = pickle.loads(pickle.dumps(raised))
    assert type(arrived) is error
    assert (str(arrived), arrived.kind) == (str(raised), raised.kind)


def test_kinds_tell_errors_apart() -> None:
    errors = own_errors()
    assert len(errors) >= 9
    assert len({error.__dict__["kind"] for error in errors}) == len(errors)


def test_errors_are_also_the_builtin_a_caller_expects() -> None:
    assert issubclass(SlideNotFoundError, (SlideError, FileNotFoundError))
    assert issubclass(UnreadableRegionError, OSError)
    assert issubclass(UnsupportedSlideError, ValueError)
    assert issubclass(MaskError, ValueError)
