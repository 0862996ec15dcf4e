"""The decorators of the kernels that walk over bytes, and the folder of their machine code.

    @kernel
    def count_bytes(data, wanted): ...

Numba counts references to arrays with atomic instructions at nearly every call, which makes helpers that
take an array up to three times slower. A kernel borrows its arrays and allocates none, so that it
can do without (`_nrt=False`); a function that does allocate is `compiled()`. Two kernels that call
each other crash when they are read back from numba's cache, so none do.

The annotations of a kernel are for its readers: numba compiles it for the arguments of the first call.

Numba takes longer to import than all that a plan needs, so it comes with the first call of a kernel. Until then a
kernel is a `Native`, and to numba one stands for what it makes: kernels that call each other need not know.

Machine code is kept in `~/.cache/curate` (or below NUMBA_CACHE_DIR), in a folder that is named by the processor and
by the source of all kernels (this folder and those below, and files elsewhere named `*_kernel.py`). Numba itself looks
at the file of a kernel alone, and would run stale code when a kernel that it calls has changed. It does look at the
processor, but two machines that compile at once in a home folder that they share can write one's code under the
other's name. Every worker finds the folder for itself: its name follows from what all of them have, and no variable
of the environment is set.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
Chars = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Props = npt.NDArray[np.uint16]

Function = TypeVar("Function", bound=Callable[..., object])


class Native:
    """A function of machine code, made by numba at its first call or when a kernel that calls it is compiled."""

    def __init__(self, function: Callable[..., object], make: Callable[[ModuleType], Any]) -> None:
        functools.update_wrapper(self, function)
        self._make = make

    @functools.cached_property
    def made(self) -> Any:
        """What numba makes of the function: a dispatcher, or an intrinsic."""
        return self._make(_numba())

    def __call__(self, *args: object) -> object:
        """Run it."""
        return self.made(*args)

    # Numba asks these of what a kernel names: what it is, and whether its body is copied to where it is called.

    @functools.cached_property
    def _numba_type_(self) -> Any:
        from numba.core.registry import cpu_target

        context = cpu_target.typing_context
        context.refresh()  # it may not know of an intrinsic that was made after a compilation began
        return context.resolve_value_type(self.made)

    @property
    def targetoptions(self) -> Any:
        """The options of a dispatcher."""
        return self.made.targetoptions

    @property
    def py_func(self) -> Any:
        """The function as it was written."""
        return self.made.py_func


def compiled(**options: object) -> Callable[[Function], Function]:
    """Compile a function at its first call, by options of `numba.njit`; the result is cached on disk."""

    def decorate(function: Function) -> Function:
        return cast(Function, Native(function, lambda it: it.njit(cache=True, nogil=True, **options)(function)))

    return decorate


def kernel(function: Function) -> Function:
    """Compile a function that borrows its arrays, at its first call; the result is cached on disk."""
    return compiled(_nrt=False)(function)


def inlined(function: Function) -> Function:
    """The same, copied into the functions that call it."""
    return compiled(_nrt=False, inline="always")(function)


def intrinsic(typed: Callable[..., Any]) -> Native:
    """What only compiled code can call, as `numba.extending.intrinsic` has it."""
    return Native(typed, lambda it: it.extending.intrinsic(typed))


def kernels_key(package: Path) -> str:
    """What machine code is good for: this processor and numba, and the source of all kernels of a copy of curate/."""
    import numba
    from llvmlite import binding

    digest = hashlib.sha256(numba.__version__.encode())
    digest.update(f"{binding.get_host_cpu_name()} {binding.get_host_cpu_features().flatten()}".encode())
    for source in sorted({*package.glob("text/**/*.py"), *package.glob("**/*_kernel.py")}):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> Path:
    """Where this process and all like it keep machine code; it is there."""
    name = f"kernels-{kernels_key(Path(__file__).parents[1])}"
    wanted = os.environ.get("NUMBA_CACHE_DIR")
    cache = Path(wanted or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for base in (
        cache if wanted else cache / "curate",
        Path(tempfile.gettempdir()) / f"curate-{os.getuid()}",
    ):
        with contextlib.suppress(OSError):
            (base / name).mkdir(parents=True, exist_ok=True)
            if os.access(base / name, os.W_OK):
                return base / name
    return cache


@functools.cache
def _numba() -> ModuleType:
    """Numba, which looks up the folder when it makes a function that is to be cached."""
    import numba.core.config
    import numba.extending

    setattr(numba.core.config, "CACHE_DIR", str(cache_folder()))  # noqa: B010  # made at run time, unknown to mypy
    return numba
