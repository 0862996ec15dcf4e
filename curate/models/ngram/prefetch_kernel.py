"""Ask the processor for a line of memory that will be needed soon: `prefetch(array, index)`, in compiled code only.

A load holds up what comes after it until its data is there; this does not, so that many can be under way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import numpy.typing as npt

from curate.text.native import intrinsic

_READ, _KEEP, _DATA = 0, 3, 1  # the last three arguments of LLVM's llvm.prefetch


@intrinsic
def _prefetch(_typing, array, index):  # type: ignore[no-untyped-def]  # numba's own objects, which it gives no types
    """Fetch the line that holds `array[index]`."""
    from llvmlite import ir
    from numba.core import cgutils, types
    from numba.np.arrayobj import make_array

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # as above
        array_of = make_array(signature.args[0])  # type: ignore[no-untyped-call]  # as above
        start = array_of(context, builder, arguments[0]).data
        pointer = ir.IntType(8).as_pointer()
        place = builder.bitcast(builder.gep(start, [arguments[1]]), pointer)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]  # as above
            builder.module, kind, "llvm.prefetch.p0"
        )
        builder.call(function, [place, number(_READ), number(_KEEP), number(_DATA)])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


prefetch = cast(Callable[[npt.NDArray[np.uint32] | npt.NDArray[np.uint64], int], None], _prefetch)
