"""Tables in Markdown, as reports of benchmarks have them."""

from collections.abc import Mapping, Sequence
from typing import Any


def table_row(cells: Sequence[str]) -> str:
    """One line of a table; a `|` within a cell would end it, and becomes `/`."""
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def with_interval(row: Mapping[str, Any]) -> str:
    """A row's `difference` with its `low` and `high`."""
    return f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
