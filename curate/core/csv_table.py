"""A small table of numbers that a person gives as CSV: a header, then rows of a name and numbers.

table = read_csv_table("cutoffs.csv")       # language,0.3,0.6 / en,312.5,640.1
table.columns, table.rows["en"]             # ['0.3', '0.6'], [312.5, 640.1]
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass

from curate.core.errors import ConfigError
from curate.core.files import read_bytes


@dataclass(frozen=True)
class CsvTable:
    """The names of the number columns, and each row's numbers by its name; NaN for an empty cell."""

    columns: list[str]
    rows: dict[str, list[float]]


def read_csv_table(path: str) -> CsvTable:
    """Read a table.

    Raises:
        ConfigError: a row of another length, a cell that is no finite number, a name that is there twice, or no
            table at all; with the line.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(reader.line_num, line) for line in reader if line]
    except csv.Error as error:
        raise ConfigError(f"{path}:{reader.line_num}: is not CSV ({error}); mend the line") from None
    if not lines or len(lines[0][1]) < 2:
        raise ConfigError(f"{path}: expected a CSV file with a header, a column of names and columns of numbers")
    header = lines[0][1]
    columns = header[1:]
    twice = next((name for i, name in enumerate(columns) if name in columns[:i]), None)
    if twice is not None:
        raise ConfigError(f"{path}: the column {twice!r} is there twice; remove one")
    rows: dict[str, list[float]] = {}
    for number, line in lines[1:]:
        where = f"{path}:{number}"
        if len(line) != len(header):
            raise ConfigError(f"{where}: {len(line)} cells under a header of {len(header)}; mend the line")
        if line[0] in rows:
            raise ConfigError(f"{where}: the row {line[0]!r} is there twice; remove one")
        rows[line[0]] = [_number(cell, where) for cell in line[1:]]
    return CsvTable(columns, rows)


def _number(cell: str, where: str) -> float:
    if not cell.strip():
        return math.nan
    try:
        value = float(cell)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise ConfigError(f"{where}: {cell!r} is not a number; leave a cell empty that is not known")
    return value
