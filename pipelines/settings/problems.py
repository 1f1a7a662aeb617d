"""What is wrong with settings, said of the keys that a user wrote."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

EXPECTED = "Input should be "  # as pydantic begins
IN_OUR_WORDS = {"tuple_type": "a list", "path_type": "a path", "model_type": "a table"}


def problems_of(error: ValidationError, known: Collection[str]) -> str:
    """One sentence on each wrong setting, in the order of the settings.

    Parameters
    ----------
    known
        All keys, those of tables with dots: ``limits.minutes``.
    """
    of_keys: defaultdict[str, list[Any]] = defaultdict(list)
    for problem in error.errors():  # a value that may be of several kinds has one for each
        of_keys[_key(problem)].append(problem)
    said = ((key, _message(key, problems, known)) for key, problems in of_keys.items())
    return "; ".join(f"{key}: {message}" if key else message for key, message in said)


def _key(problem: Any) -> str:
    """The setting's key, without what pydantic adds to say which kind of value was tried."""
    return ".".join(part for part in problem["loc"] if str(part).isidentifier())


def _message(key: str, problems: Sequence[Any], known: Collection[str]) -> str:
    first = problems[0]
    if first["type"] == "extra_forbidden":
        near = get_close_matches(key, known, n=1)
        rest = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return f"there is no such key; {rest}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    expected = (IN_OUR_WORDS.get(p["type"], p["msg"].removeprefix(EXPECTED)) for p in problems)
    return f"{first['input']!r} should be {' or '.join(expected)}"
