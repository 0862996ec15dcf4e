"""Which bits a neural model's numbers have: those of this kind of processor, or the same on any x86-64 with AVX2.

    with noting("runs/demo/scores-1f0c22aa/.receipts/bits"):
        use()                                    # a model is loaded here
    noted("runs/demo/scores-1f0c22aa/.receipts/bits")     # (Bits("machine", "x86_64 GenuineIntel 6-143 avx512f", ...),)

The libraries below torch choose their kernels by the processor and by the shape of a product, and sum in another order
in each. `settle` asks them for kernels that do not depend on the shape (`machine`); what a process is started with
(`PORTABLE`) asks them besides for the same kernels everywhere (`portable`). Nothing here imports numpy or torch, which
read these settings when they are imported or first used. docs/reproducibility.md says what holds where.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import orjson
import xxhash

from curate.core import files
from curate.core.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
R = TypeVar("R")
Mode = Literal["machine", "portable"]
# MKL: its strict mode of reproducibility, with the kernels of this processor.
MACHINE = {"MKL_CBWR": "AUTO,STRICT"}
# MKL: the kernels that it has for the processors of all makers, as it ignores any other wish on AMD's. Torch, oneDNN,
# OpenBLAS and numpy (by its names of every release): those of AVX2, wherever there are newer ones.
PORTABLE = {
    "MKL_CBWR": "COMPATIBLE",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
}
# What else of the environment chooses kernels.
_LIMITS = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")
# Numbers of one model on two kinds of processor differ by this part of the larger one, or this much, at most.
RELATIVE, ABSOLUTE = 1e-4, 1e-5
_LEVELS = ("avx512f", "avx2", "avx", "sse4_2", "asimd")


@dataclass(frozen=True, order=True)
class Bits:
    """How a neural model computed.

    Attributes:
        mode: `machine` or `portable`.
        processor: its kind; empty for `portable`, which does not depend on it.
        torch: the version.
    """

    mode: Mode
    processor: str
    torch: str

    def __str__(self) -> str:
        return f"{self.processor or 'portable'}, torch {self.torch}"


@functools.cache
def _adapter() -> TypeAdapter[Bits]:
    """Reads and writes it; built when there is a model, as help and many plans have none."""
    from pydantic import TypeAdapter

    return TypeAdapter(Bits)


def mode() -> Mode:
    """`portable` where this process was started so, else `machine`."""
    return "portable" if all(os.environ.get(name) == value for name, value in PORTABLE.items()) else "machine"


def settle() -> None:
    """Ask the libraries for kernels that do not depend on the shape of a product, unless other settings are there."""
    for name, value in MACHINE.items():
        os.environ.setdefault(name, value)


def restart_if_needed(asked: Mode | None) -> None:
    """Start this command again in its own process where it was not started for the mode that is asked for."""
    if asked is not None and asked != mode():
        others = {name: value for name, value in os.environ.items() if name not in PORTABLE}
        own = PORTABLE if asked == "portable" else {}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**others, **own})


@functools.cache
def processor() -> str:
    """The kind of this machine's processor, and what of the environment limits it.

    Two of one kind compute the same bits; two of different kinds may, or may not.
    """
    facts: dict[str, str] = {}
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
        for line in stream:
            fact, _, value = line.partition(":")
            facts.setdefault(fact.strip(), value.strip())
    if "vendor_id" in facts:
        name = f"{facts['vendor_id']} {facts.get('cpu family', '?')}-{facts.get('model', '?')}"
    elif "CPU part" in facts:
        name = f"{facts.get('CPU implementer', '?')}-{facts['CPU part']}"
    else:
        name = platform.processor() or "unknown"
    flags = f"{facts.get('flags', '')} {facts.get('Features', '')}".split()
    level = next((each for each in _LEVELS if each in flags), "")
    limits = [f"{key}={it}" for key in _LIMITS if (it := os.environ.get(key)) and it != MACHINE.get(key)]
    return " ".join(each for each in (platform.machine(), name, level, *limits) if each)


def use(where: str | None = None) -> None:
    """Note that a model is loaded in this process, into the folder of `noting`.

    Args:
        where: it computes, unless that is this processor as it was asked to.
    """
    if _folder is None:
        return
    own = processor() if mode() == "machine" else ""
    import importlib.metadata

    bits = Bits(mode(), own if where is None else where, importlib.metadata.version("torch"))
    data = orjson.dumps(_adapter().dump_python(bits))
    path = files.join(_folder, f"{xxhash.xxh3_64_hexdigest(data)}.bits")
    if not files.exists(path):
        with files.atomic_output(path) as out:
            out.write(data)


_folder: str | None = None


@contextlib.contextmanager
def noting(folder: str) -> Iterator[None]:
    """Keep in a folder how the models that are loaded within the block compute, for any number of processes."""
    global _folder
    before, _folder = _folder, folder
    try:
        yield
    finally:
        _folder = before


def noted(folder: str) -> tuple[Bits, ...]:
    """What was kept in a folder, in order."""
    names = [name for name in files.list_names(folder) if name.endswith(".bits")]
    return tuple(sorted(_adapter().validate_json(files.read_bytes(files.join(folder, name))) for name in names))


def read_bits(manifest: bytes) -> list[Bits]:
    """What a manifest of a step says, as it lies in a release; nothing where that is no manifest."""
    said = orjson.loads(manifest)
    return [_adapter().validate_python(each) for each in said.get("bits", [])] if isinstance(said, dict) else []


@dataclass(frozen=True)
class Noting(Generic[T, R]):
    """What makes a worker's function, and the function, noting into a folder."""

    make: Callable[[], Callable[[T], R]]
    folder: str

    def __call__(self) -> Callable[[T], R]:
        """The function, within `noting`."""
        with noting(self.folder):
            function = self.make()

        def run(item: T) -> R:
            with noting(self.folder):
                return function(item)

        return run


def check(asked: Mode | None) -> None:
    """See that this process computes as it is asked to.

    Raises:
        ConfigError: it was not started so.
    """
    if asked is not None and asked != mode():
        raise ConfigError(
            f"bits: this process was started for bits of the mode {mode()}, not {asked}, which numpy and torch have to"
            f" know before they are imported; use `curate run --bits {asked}`, or for a notebook see"
            " docs/reproducibility.md"
        )


def change(before: Collection[Bits], now: Collection[Bits]) -> str:
    """What a person should know where models computed otherwise than before; empty where they did not."""
    first = set(before) or set(sorted(now)[:1])  # several at once, as on a cluster
    new = set(now) - first
    if not new:
        return ""
    kinds = [" and ".join(str(each) for each in sorted(some)) for some in (first, new)]
    helps = all(each.processor.startswith("x86_64") for each in first | new)
    return (
        f"its models computed on {kinds[1]}, others on {kinds[0]}: the last bits of their numbers may differ"
        f"{' (they do not with --bits portable)' if helps else ''}"
    )
