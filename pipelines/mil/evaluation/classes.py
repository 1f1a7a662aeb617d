"""Which class is looked for, and how classes that are grades follow each other."""

from collections.abc import Sequence

from pipelines.errors import UsageError


def positive_class(classes: Sequence[str], asked: str | None) -> int | None:
    """The number of the class a positive verdict means; None with three and more, if not asked.

    Raises
    ------
    UsageError
        If there is no such class.
    """
    if asked is not None and asked not in classes:
        raise UsageError(f"--positive {asked}: the classes are {', '.join(classes)}")
    if asked is None:
        return 1 if len(classes) == 2 else None
    return classes.index(asked)


def grades(classes: Sequence[str], ordered: Sequence[str]) -> list[int]:
    """The numbers of the classes from the lowest grade on; those of a training have no order.

    Raises
    ------
    UsageError
        If `ordered` is not all of three or more classes, each once.
    """
    if ordered and (len(classes) < 3 or sorted(ordered) != sorted(classes)):
        raise UsageError(
            f"--ordered {','.join(ordered)}: three or more classes from the lowest grade on, each "
            f"once; the classes are {', '.join(classes)}"
        )
    return [classes.index(name) for name in ordered]
