"""Tables as people and their programs write them: cells of text, and where each row is."""

import csv
import re
from io import StringIO
from pathlib import Path
from typing import Any

# What R, pandas and spreadsheets write where there is no value; in quotes they are text.
MISSING = ("#N/A", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null")
_WORD = "|".join(map(re.escape, MISSING))
_QUOTED_OR_MISSING = re.compile(
    rf'(?<![^,\r\n])[ \t]*(?:("(?:[^"]|"")*")|(?:{_WORD})[ \t]*(?![^,\r\n]))'
)
Row = tuple[int, dict[str, str]]  # where it is, and its cells by column


def read_csv(path: Path) -> tuple[list[str], list[Row]]:
    """The columns, and for each row its line, from 1, and its cells; empty where nothing is told.

    Rows without any value are passed over, such as empty lines, and those of commas alone that
    spreadsheets leave at the end.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, is no UTF-8 or no CSV, or rows have more or fewer cells.
    """
    # With or without the mark that spreadsheets put first.
    text = path.read_bytes().decode("utf-8-sig")
    told = StringIO(_QUOTED_OR_MISSING.sub(lambda cell: cell[1] or "", text), newline="")
    reader = csv.reader(told, strict=True, skipinitialspace=True)
    try:
        columns = next(reader, [])
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
    rows = [(number, cells) for number, cells in lines if any(cells)]
    if uneven := [number for number, cells in rows if len(cells) != len(columns)]:
        raise ValueError(
            f"columns are {', '.join(columns)}; rows {uneven} have more or fewer values"
        )
    return columns, [(number, dict(zip(columns, cells, strict=True))) for number, cells in rows]


def read_parquet(path: Path) -> tuple[list[str], list[Row]]:
    """As `read_csv`, with the row's number, from 1; what is a string is text.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or is no Parquet, or bytes are no UTF-8.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with path.open("rb") as file:
            table = parquet.read_table(file)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from error
    rows = []
    for number, row in enumerate(table.to_pylist(), start=1):
        try:
            cells = {name: _text(value) for name, value in row.items()}
        except UnicodeDecodeError as error:
            raise ValueError(f"row {number}: {error}") from error
        if any(cells.values()):
            rows.append((number, cells))
    return table.column_names, rows


def _text(value: Any) -> str:
    """A cell as text; pandas makes NaN of an empty one, and 101.0 of 101 where another is empty."""
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        return value.decode().strip()
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value).strip()
