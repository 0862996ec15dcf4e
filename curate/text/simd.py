"""What compiled kernels can only say to LLVM itself: unaligned loads, bits of a word, 64 bytes at once.

    key = key * BASE_8 + dot(load(data, at))        # the next eight bytes of a polynomial hash
    word, space, ... = block(data, at)              # a bit for each of 64 bytes, in a number for each class

The vectors are of LLVM, which finds the instructions of the machine for them: AVX-512, AVX2, SSE2 or NEON.
None of these looks at the length of an array: the caller sees to it that the bytes are there. What writes LLVM's code
imports llvmlite and numba for itself, as it runs when a kernel is compiled and not before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from curate.text.native import Bytes, intrinsic

# The hash of bytes b0 b1 ... is the sum of (b + 1) * BASE^(bytes after b) modulo 2^64, so that the hash
# of two strings joined follows from theirs and a length. Only equality of all 64 bits means something:
# `curate.text.utf8.scatter` before taking a part of it.
BASE = np.uint64(0x9E3779B97F4A7C55)

BLOCK = 64  # bytes that `block` reads; it also looks at one before and at `AHEAD` after them
AHEAD = 2
CLASSES = 8
START, WORD, SPACE, BLANK, BREAK, STOP, SYMBOL, PHRASE = range(CLASSES)

# LLVM's builder and its values carry no types, nor do Numba's.
Builder = Any
Value = Any


def _bits(width: int, lanes: int = 0) -> Value:
    """The type of a whole number, or of a vector of them."""
    from llvmlite import ir

    return ir.VectorType(ir.IntType(width), lanes) if lanes else ir.IntType(width)


def _same(value: int) -> Value:
    return _bits(8, BLOCK)([value] * BLOCK)


def _call(builder: Builder, name: str, result: Value, *args: Value) -> Value:
    from llvmlite import ir

    kind = ir.FunctionType(result, [arg.type for arg in args])
    module = builder.module
    function = module.globals.get(name) or ir.Function(module, kind, name)
    return builder.call(function, args)


def _read(context: Any, builder: Builder, array_type: Value, array: Value, at: Value, kind: Value) -> Value:
    pointer = builder.gep(context.make_array(array_type)(context, builder, array).data, [at])
    loaded = builder.load(builder.bitcast(pointer, kind.as_pointer()))
    loaded.align = 1
    return loaded


def _load(typing: Any, data: Any, at: Any) -> Any:
    from numba.core import types

    def codegen(context: Any, builder: Builder, signature: Any, args: Any) -> Value:
        return _read(context, builder, signature.args[0], args[0], args[1], _bits(64))

    return types.uint64(data, types.int64), codegen


def _dot(typing: Any, word: Any) -> Any:
    from numba.core import types

    powers = [pow(int(BASE), 7 - lane, 1 << 64) for lane in range(8)]

    def codegen(context: Any, builder: Builder, signature: Any, args: Any) -> Value:
        lanes = builder.zext(builder.bitcast(args[0], _bits(8, 8)), _bits(64, 8))
        terms = builder.mul(lanes, _bits(64, 8)(powers))
        return _call(builder, "llvm.vector.reduce.add.v8i64", _bits(64), terms)

    return types.uint64(types.uint64), codegen


def _bit_count(name: str, *flags: int) -> Callable[[Any, Any], Any]:
    def typed(typing: Any, bits: Any) -> Any:
        from numba.core import types

        def codegen(context: Any, builder: Builder, signature: Any, args: Any) -> Value:
            return _call(builder, f"llvm.{name}.i64", _bits(64), args[0], *(_bits(1)(flag) for flag in flags))

        return types.int64(types.uint64), codegen

    return typed


def _block(typing: Any, data: Any, at: Any) -> Any:
    from numba.core import types

    def codegen(context: Any, builder: Builder, signature: Any, args: Any) -> Value:
        def bytes_at(shift: int) -> Value:
            here = builder.add(args[1], _bits(64)(shift))
            return _read(context, builder, signature.args[0], args[0], here, _bits(8, BLOCK))

        def within(vector: Value, low: int, high: int) -> Value:
            return builder.icmp_unsigned("<=", builder.sub(vector, _same(low)), _same(high - low))

        def among(vector: Value, chars: str) -> Value:
            found = builder.icmp_unsigned("==", vector, _same(ord(chars[0])))
            for char in chars[1:]:
                found = builder.or_(found, builder.icmp_unsigned("==", vector, _same(ord(char))))
            return found

        def both(*sides: Value) -> Value:
            found = sides[0]
            for side in sides[1:]:
                found = builder.and_(found, side)
            return found

        def either(*sides: Value) -> Value:
            found = sides[0]
            for side in sides[1:]:
                found = builder.or_(found, side)
            return found

        here, one, two = bytes_at(0), bytes_at(1), bytes_at(2)
        folded = builder.or_(here, _same(32))
        before, after, beyond = (builder.or_(bytes_at(shift), _same(32)) for shift in (-1, 1, 2))
        space = either(within(here, 9, 13), among(here, " "))
        # The spaces of C4's phrases: "privacY POlicy", "cookiE POlicy", "termS OF use", "useS COokies", ...
        phrase = either(
            both(among(before, "ye"), among(after, "p"), among(beyond, "o")),
            both(among(before, "es"), among(after, "o"), among(beyond, "f")),
            both(among(before, "es"), among(after, "c"), among(beyond, "o")),
            both(among(before, "m"), among(after, "i"), among(beyond, "p")),
        )
        dots = either(among(one, "."), both(among(one, " "), among(two, ".")))
        classes = {
            START: builder.icmp_signed(">=", here, _same(0)),
            WORD: either(within(folded, 97, 122), within(here, 48, 57)),
            SPACE: space,
            BLANK: either(space, within(here, 28, 31)),
            BREAK: either(within(here, 10, 13), within(here, 28, 30)),
            STOP: among(here, ".?!"),
            SYMBOL: either(among(here, "#\xa6"), both(among(here, "."), dots)),
            PHRASE: either(among(here, "{"), among(folded, "j"), both(among(here, " "), phrase)),
        }
        numbers = [builder.bitcast(classes[k], _bits(64)) for k in range(CLASSES)]
        return context.make_tuple(builder, signature.return_type, numbers)

    numbers: Any = types.UniTuple
    return numbers(types.uint64, CLASSES)(data, types.int64), codegen


_Count = Callable[[np.uint64], int]
_Block = tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]

# data[at:at + 8] as a number, its first byte the lowest.
load = cast("Callable[[Bytes, int], np.uint64]", intrinsic(_load))
# The sum of byte k * BASE^(7 - k), over the eight bytes of a number from the lowest.
dot = cast("Callable[[np.uint64], np.uint64]", intrinsic(_dot))
leading_zeros = cast(_Count, intrinsic(_bit_count("ctlz", 0)))
trailing_zeros = cast(_Count, intrinsic(_bit_count("cttz", 0)))
ones = cast(_Count, intrinsic(_bit_count("ctpop")))
# A bit for each of data[at:at + 64] and for each class, the first byte the lowest; see `curate.text.bitmaps`.
block = cast("Callable[[Bytes, int], _Block]", intrinsic(_block))
