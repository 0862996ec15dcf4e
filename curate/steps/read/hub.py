"""Datasets on the Hugging Face Hub, or in a local folder, streamed row by row.

    for chunk in stream_dataset("HuggingFaceFW/fineweb", config="sample-10BT", split="train"):
        ...

Code that comes with a dataset is never run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from curate.core.errors import ConfigError, RunError
from curate.steps.read.chats import Chats
from curate.steps.read.chunk import Chunk, Options
from curate.steps.read.forms import Conversations
from curate.steps.read.tabular import Documents, Tables

# Rows at a time: enough to be quick for short texts, few enough for books.
_ROWS = 256


def stream_dataset(
    name: str,
    *,
    config: str | None = None,
    split: str = "train",
    revision: str | None = None,
    text: str = "text",
    columns: Sequence[str] | None = None,
    max_bytes: int = 100_000_000,
    conversations: Conversations | None = None,
) -> Iterator[Chunk]:
    """Chunks of one split of a dataset, without downloading it whole; a row's position is that in the split.

    Args:
        name: `owner/name` on the Hub, or a local folder of Parquet, JSON Lines or CSV files.
        config: which subset, when there are several.
        split: which split.
        revision: a branch, tag or commit; give a commit for a run that can be repeated.
        text: the column that holds the text.
        columns: the own columns to keep; None keeps all.
        max_bytes: a longer text is bad.
        conversations: the form of the conversations that the rows are; None where they are documents.

    Raises:
        ConfigError: no such dataset, subset, split or column.
        RunError: the stream failed.
    """
    import datasets  # takes a second, and every run imports this module

    options = Options(text, None if columns is None else tuple(columns), max_bytes)
    tables: Tables = Documents(name, options) if conversations is None else Chats(name, options, conversations)
    try:
        stream = datasets.load_dataset(name, config, split=split, revision=revision, streaming=True)
    except (ValueError, FileNotFoundError) as error:  # datasets' own errors are of these kinds
        raise ConfigError(f"dataset {name}: {_line(error)}; check its name, subset, split and revision") from error
    except OSError as error:
        raise RunError(f"dataset {name}: cannot be reached ({_line(error)}); try again") from error
    start = 0
    batches = iter(stream.with_format("arrow").iter(batch_size=_ROWS))
    while True:
        try:
            table = next(batches)
        except StopIteration:
            return
        except (
            OSError,
            ValueError,
            datasets.exceptions.DatasetsError,
        ) as error:  # Arrow's errors are among these
            raise RunError(f"dataset {name}: reading failed at row {start:,} ({_line(error)}); try again") from error
        yield tables.chunk(pa.table(table), start)
        start += table.num_rows


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
