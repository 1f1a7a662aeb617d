"""What is wrong with settings, said of the keys that a user wrote."""

from collections import defaultdict
from collections.abc import Collection
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

EXPECTED = " should be "
IN_OUR_WORDS = {"tuple_type": "a list", "path_type": "a path", "model_type": "a table"}


def problems_of(error: ValidationError, known: Collection[str]) -> str:
    """One sentence on each wrong setting, in the order of the settings.

    Parameters
    ----------
    known
        All keys, those of tables with dots: ``limits.minutes``.
    """
    said: defaultdict[str, list[str]] = defaultdict(list)
    for problem in error.errors():
        said[_key(problem)].append(_message(problem, known))
    return "; ".join(f"{key}: {_joined(of)}" if key else of[0] for key, of in said.items())


def _joined(of: list[str]) -> str:
    """One sentence on a value that may be of several kinds, which has a problem for each."""
    begin = "".join(of[0].partition(EXPECTED)[:2])
    return " or ".join([of[0], *(other.removeprefix(begin) for other in of[1:])])


def _key(problem: Any) -> str:
    """The setting's key, without what pydantic adds to say which kind of value was tried."""
    return ".".join(part for part in problem["loc"] if str(part).isidentifier())


def _message(problem: Any, known: Collection[str]) -> str:
    if problem["type"] == "extra_forbidden":
        near = get_close_matches(_key(problem), known, n=1)
        return (
            f"there is no such key; did you mean {near[0]}?"
            if near
            else f"there is no such key; there are {', '.join(known)}"
        )
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    expected = problem["msg"].removeprefix(f"Input{EXPECTED}")
    return f"{problem['input']!r}{EXPECTED}{IN_OUR_WORDS.get(problem['type'], expected)}"
