"""Patients told apart by their ids, however these are spelt."""

from collections.abc import Iterable, Iterator
from unicodedata import category, normalize


def patients_astride(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, list[str]]]:
    """Patients in several splits, from a patient id and a split a row: in words, and the splits.

    Ids that differ by case, code points (NFKC) or characters without width are of one patient.
    """
    names: dict[str, dict[str, None]] = {}
    splits: dict[str, set[str]] = {}
    for patient, split in rows:
        key = _key(patient)
        names.setdefault(key, {})[patient] = None
        splits.setdefault(key, set()).add(split)
    for key, of_patient in splits.items():
        if len(of_patient) > 1:
            yield _told(list(names[key])), sorted(of_patient)


def spelt_once(patients: Iterable[str]) -> list[str]:
    """Each id as the first that is of the same patient, in the sense of `patients_astride`.

    Examples
    --------
    >>> spelt_once(["P1", "p2", "p1"])
    ['P1', 'p2', 'P1']
    """
    first: dict[str, str] = {}
    return [first.setdefault(_key(patient), patient) for patient in patients]


def _key(patient: str) -> str:
    seen = "".join(c for c in normalize("NFKC", patient) if category(c) != "Cf")
    return normalize("NFKC", seen.casefold()).strip()


def _told(names: list[str]) -> str:
    """Several spellings in ASCII, since they may look the same."""
    if len(names) == 1:
        return f"patient {names[0]!r}"
    return f"patient {names[0]!a} (also written {', '.join(map(ascii, names[1:]))})"
