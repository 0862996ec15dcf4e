"""Whether two runs, or two releases, hold the same; where neural models computed on two kinds of processor, how nearly.

    compared = compare("runs/here/pretrain", "runs/there/pretrain")
    compared.same, compared.lines

What depends on such a model may differ in the last bits of its numbers between kinds of processor (`curate.core.bits`).
Such differences are listed apart from others, with the largest of them. Everything else has to be equal.
"""

from __future__ import annotations

import importlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.core import files
from curate.core.bits import ABSOLUTE, RELATIVE, Bits, read_bits
from curate.core.dataset import Dataset
from curate.core.errors import ConfigError
from curate.core.shards import read_shard
from curate.pipeline import RECORD, open_run
from curate.steps.release.verify import find_release
from curate.steps.release.write import MANIFEST, RELEASE

Numbers = npt.NDArray[np.float64]
_ARRAYS = (".npy", ".safetensors")
# What a training writes of its numbers.
_WRITTEN = ("loss.csv", "loss.svg", "model.json")


@dataclass
class Compared:
    """A line for each difference or step, and whether they are the same but for last bits that are to be expected."""

    same: bool = True
    lines: list[str] = field(default_factory=list)

    def add(self, name: str, rows: int, tables: Iterator[tuple[pa.Table, pa.Table]], why: str) -> None:
        """Compare tables that hold the same rows of two datasets.

        Args:
            name: of the datasets.
            rows: how many they have.
            tables: those that are not known to be equal.
            why: floating-point numbers may differ in their last bits; empty where they may not.
        """
        found = _Differences(rows)
        for one, other in tables:
            found.add(one, other)
        for text, last in found.lines(why):
            self.same &= last
            self.lines.append(f"{name}: {text}")
        if not found.any():
            self.lines.append(f"{name}: the same ({rows:,} rows)")

    def add_files(self, name: str, one: Dataset, other: Dataset, why: str) -> None:
        """Compare the files beside the shards: arrays of numbers (weights, features) by value, others by their hashes.

        Where `why` says that numbers may differ, so may what is written of them: cards, curves, a release's papers.
        """
        before, after = one.manifest.files, other.manifest.files
        if not one.shards and before == after:
            self.lines.append(f"{name}: the same")
        differ = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        near = [path for path in differ if why and (path in _WRITTEN or path.startswith(f"{RELEASE}/"))]
        arrays = [path for path in differ if path.endswith(_ARRAYS) and path in before and path in after]
        largest = 0.0
        for path in arrays if why else ():
            apart, last = _compare_arrays(*(files.join(each.folder, path) for each in (one, other)))
            largest = max(largest, apart)
            near += [path] if last else []
        wrong = [path for path in differ if path not in near]
        if wrong:
            self.same = False
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            self.lines.append(f"{name}: {wrong[0]}{more} differs" + (f", by {largest:.1e} at most" if largest else ""))
        elif arrays:
            of = arrays[0] if len(arrays) == 1 else f"{len(arrays)} files of numbers"
            self.lines.append(f"{name}: {of} differ{'s' * (len(arrays) == 1)}, by {largest:.1e} at most: last bits")


@dataclass
class _Column:
    values: int = 0
    beyond: int = 0
    largest: float = 0.0


@dataclass
class _Differences:
    rows: int
    alone: tuple[int, int] = (0, 0)
    columns: dict[str, _Column] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    types: dict[str, str] = field(default_factory=dict)

    def any(self) -> bool:
        return bool(any(self.alone) or self.missing or self.types or any(each.values for each in self.columns.values()))

    def add(self, one: pa.Table, other: pa.Table) -> None:
        if "id" in one.column_names and "id" in other.column_names and not one["id"].equals(other["id"]):
            ids = [each["id"].cast(pa.string()).combine_chunks() for each in (one, other)]
            places = pc.index_in(ids[0], value_set=ids[1])
            both = places.is_valid()
            shared = pc.sum(both).as_py() or 0
            self.alone = self.alone[0] + one.num_rows - shared, self.alone[1] + max(0, other.num_rows - shared)
            one, other = one.filter(both), other.take(places.drop_null())
        elif one.num_rows != other.num_rows:
            self.alone = self.alone[0] + one.num_rows, self.alone[1] + other.num_rows
            return
        self.missing |= set(one.column_names) ^ set(other.column_names)
        for name in one.column_names:
            if name in other.column_names:
                if one[name].type != other[name].type:
                    self.types[name] = f"is {one[name].type} in the first, {other[name].type} in the second"
                _compare(one[name], other[name], self.columns.setdefault(name, _Column()))

    def lines(self, why: str) -> Iterator[tuple[str, bool]]:
        """What differs, and whether it is no more than last bits, of which `why` says that there may be some."""
        for name in sorted(self.missing):
            yield f"the column {name} is in one alone", False
        for name, kinds in self.types.items():
            yield f"the column {name} {kinds}", False
        if any(self.alone):
            yield f"{self.alone[0]:,} rows are in the first alone, {self.alone[1]:,} in the second", False
        for name, each in self.columns.items():
            if each.values:
                by = f", by {each.largest:.1e} at most" if each.largest else ""
                last = bool(why) and each.beyond == 0
                text = f"{each.values:,} of {self.rows:,} values of {name} differ{by}"
                yield f"{text}{': last bits' if last else ''}", last


def _compare(one: pa.ChunkedArray, other: pa.ChunkedArray, into: _Column) -> None:
    """Count the values that differ, and those that differ by more than last bits do."""
    if one.equals(other):
        return
    if not (pa.types.is_floating(one.type) and pa.types.is_floating(other.type)):
        for first, second in zip(one.to_pylist(), other.to_pylist(), strict=True):
            into.values += not _alike(first, second, exactly=True)
            into.beyond += not _alike(first, second, exactly=False)
        return
    first, second = (_numbers(each) for each in (one, other))
    nulls = one.is_null().to_numpy() != other.is_null().to_numpy()
    differ = ~((first == second) | (np.isnan(first) & np.isnan(second))) | nulls
    with np.errstate(invalid="ignore"):
        apart = np.abs(first - second)
    into.values += int(differ.sum())
    into.beyond += int((differ & (~_near(first, second) | nulls)).sum())
    into.largest = max(into.largest, float(apart[differ & np.isfinite(apart)].max(initial=0.0)))


def _alike(one: object, other: object, *, exactly: bool) -> bool:
    """Whether two values are equal, or so but for last bits, whatever they are made of."""
    if isinstance(one, float) and isinstance(other, float):
        near = not exactly and math.isclose(one, other, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
        return one == other or (math.isnan(one) and math.isnan(other)) or near
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_alike(*pair, exactly=exactly) for pair in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key], exactly=exactly) for key in one)
    return one == other


def _near(one: Numbers, other: Numbers, least: float = ABSOLUTE) -> npt.NDArray[np.bool_]:
    """Whether numbers are equal but for last bits; one that is not finite is near none."""
    with np.errstate(invalid="ignore"):
        apart: Numbers = np.abs(one - other)
        return np.isfinite(apart) & (apart <= np.maximum(least, RELATIVE * np.maximum(np.abs(one), np.abs(other))))


def _compare_arrays(one: str, other: str) -> tuple[float, bool]:
    """The largest difference of two files, and whether all are last bits; a code may round to its neighbour."""
    first, second = _arrays(one), _arrays(other)
    shapes = [{name: each.shape for name, each in arrays.items()} for arrays in (first, second)]
    if shapes[0] != shapes[1]:
        return 0.0, False
    largest, near = 0.0, True
    for name, values in first.items():
        pair = values.astype(np.float64), second[name].astype(np.float64)
        largest = max(largest, float(np.abs(pair[0] - pair[1]).max(initial=0.0)))
        near &= bool(_near(*pair, 1.0 if values.dtype.kind == "i" else ABSOLUTE).all())
    return largest, near


def _arrays(path: str) -> dict[str, npt.NDArray[np.generic]]:
    data = files.read_bytes(path)
    if path.endswith(".npy"):
        return {"": np.load(io.BytesIO(data), allow_pickle=False)}
    return dict(importlib.import_module("safetensors.numpy").load(data))


def _numbers(column: pa.ChunkedArray) -> Numbers:
    found: Numbers = column.cast(pa.float64()).to_numpy()
    return found


def compare(one: str, other: str) -> Compared:
    """Compare two runs step by step, or two releases file by file.

    Args:
        one, other: folders of runs, or of releases, or of the steps or runs that made them.

    Raises:
        ConfigError: one is neither.
        RunError: a file is damaged.
    """
    runs = [files.exists(files.join(each, RECORD)) for each in (one, other)]
    if all(runs):
        return _compare_runs(open_run(one), open_run(other))
    for each, is_run in zip((one, other), runs, strict=True):
        if not is_run and not files.exists(each):
            raise ConfigError(f"{each}: is not there; name the folders of two runs or of two releases")
    return _compare_releases(find_release(one), find_release(other))


def _compare_runs(one: Mapping[str, Dataset], other: Mapping[str, Dataset]) -> Compared:
    compared = Compared()
    reasons: set[str] = set()
    for name in [*one, *(name for name in other if name not in one)]:
        if name not in one or name not in other:
            compared.same = False
            compared.lines.append(f"{name}: is done in the {'first' if name in one else 'second'} alone")
            continue
        first, second = one[name], other[name]
        why = _why(_computed(first, one), _computed(second, other))
        if first.shards or second.shards:
            compared.add(name, first.rows, _pairs(first, second), why)
        compared.add_files(name, first, second, why)
        reasons |= {why} - {""}
    compared.lines += sorted(reasons)
    return compared


def _computed(dataset: Dataset, run: Mapping[str, Dataset]) -> set[Bits]:
    """What the models computed on that had a part in a dataset: its own, and those of all that it was made from."""
    makers = {str(hashed): each for each in run.values() for hashed in _models(each)}
    found: set[Bits] = set()
    seen: set[str] = set()
    todo = [dataset]
    known = {each.manifest.digest: each for each in run.values()}
    while todo:
        each = todo.pop()
        if each.manifest.digest in seen:
            continue
        seen.add(each.manifest.digest)
        found |= set(each.manifest.bits)
        models = each.manifest.config.get("models")
        used = models.values() if isinstance(models, dict) else ()
        todo += [makers[str(hashed)] for hashed in used if str(hashed) in makers]
        todo += [known[digest] for digest in each.manifest.inputs.values() if digest in known]
    return found


def _models(dataset: Dataset) -> list[str]:
    model = dataset.manifest.details.get("model")
    return [dataset.manifest.hash_of(str(model))] if isinstance(model, str) else []


def _why(one: set[Bits], other: set[Bits]) -> str:
    """Why numbers may differ in their last bits; empty where they may not."""
    if not one or not other or (one == other and len(one) == 1):
        return ""
    kinds = [" and ".join(str(each) for each in sorted(some)) for some in (one, other)]
    return f"neural models computed on {kinds[0]} in the first, on {kinds[1]} in the second: their last bits may differ"


def _pairs(one: Dataset, other: Dataset) -> Iterator[tuple[pa.Table, pa.Table]]:
    digests = [{shard.name: shard.digest for shard in each.shards} for each in (one, other)]
    for name in dict.fromkeys([*digests[0], *digests[1]]):
        if digests[0].get(name) == digests[1].get(name):
            for each in (one, other):
                if not files.exists(each.path(name)):
                    raise ConfigError(f"{each.path(name)}: is missing; run the pipeline again")
            continue
        tables = [
            _table(each.path(name)) if name in each.names else each.schema().empty_table() for each in (one, other)
        ]
        yield tables[0], tables[1]


def _table(path: str) -> pa.Table:
    return pa.Table.from_batches(list(read_shard(path)))


def _compare_releases(one: str, other: str) -> Compared:
    compared = Compared()
    listed = [_data_files(each) for each in (one, other)]
    why = _why(*(_release_bits(each) for each in (one, other)))
    for path in sorted(listed[0].keys() | listed[1].keys()):
        if not all(path in each for each in listed):
            compared.same = False
            compared.lines.append(f"{path}: is in the {'first' if path in listed[0] else 'second'} alone")
            continue
        pair = (_table(files.join(one, path)), _table(files.join(other, path)))
        compared.add(path, listed[0][path], iter([pair]), why)
    compared.lines += [why] if why else []
    return compared


def _manifest(release: str) -> Sequence[Mapping[str, object]]:
    try:
        listed = orjson.loads(files.read_bytes(files.join(release, MANIFEST)))["files"]
        return [each for each in listed if isinstance(each["path"], str)]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise ConfigError(f"{release}: its {MANIFEST} is damaged; `curate verify` it first") from None


def _data_files(release: str) -> dict[str, int]:
    """The data files of a release, and how many rows each has."""
    return {str(each["path"]): rows for each in _manifest(release) if isinstance(rows := each.get("rows"), int)}


def _release_bits(release: str) -> set[Bits]:
    """What the models computed on, by the provenance of a release."""
    found: set[Bits] = set()
    for each in _manifest(release):
        if str(each["path"]).startswith("provenance/"):
            found |= set(read_bits(files.read_bytes(files.join(release, str(each["path"])))))
    return found
