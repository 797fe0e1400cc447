"""How kernels are compiled, and the few machine instructions that they name.

Kernels are nopython and nogil, without fastmath and without numba's reference counting (`_nrt=False`), so that they
cannot allocate: callers pass scratch arrays; counting references to array arguments is not free in functions this
small either. An index is never negative and never beyond the array. Only entry points are cached on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import xxhash
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

PACKAGE: Final = Path(__file__).resolve().parent.parent

Bytes = NDArray[np.uint8]
Flags = NDArray[np.uint16]
Spans = NDArray[np.int32]
Hashes = NDArray[np.uint32]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

# numba's stubs know neither the option _nrt nor that a compiled function is called like the Python one
_njit: Any = njit
as_int: Any = np.int64  # in compiled code; int() of an unsigned integer would stay unsigned
as_hash: Any = np.uint32

WORD: Final = ir.IntType(64)
BYTES_32: Final = ir.VectorType(ir.IntType(8), 32)
BYTES_64: Final = ir.VectorType(ir.IntType(8), 64)

Function = TypeVar("Function", bound=Callable[..., Any])


def typed_intrinsic(function: Callable[..., Any]) -> Any:
    """Make an instruction of a function that returns its types and the code that it becomes."""
    return intrinsic(function)


def compiled(function: Function) -> Function:
    """Compile a helper when the entry point that calls it is compiled."""
    return _njit(nogil=True, _nrt=False)(function)


def inlined(function: Function) -> Function:
    """Compile a small helper into each place that calls it: a call costs two moves for each field of each array."""
    return _njit(nogil=True, _nrt=False, forceinline=True)(function)


def cached(function: Function) -> Function:
    """Compile an entry point, and keep it on disk."""
    return _njit(nogil=True, cache=True, _nrt=False)(function)


def source_digest(*patterns: str) -> str:
    """Return a digest of the files that compiled code is made from: those that match a pattern, which begins at the
    folder of the package (``dedup/fold_*``), and this folder's.

    numba's cache on disk watches only the file of the function that it caches. A closure variable belongs to the key of
    that cache: an entry point that closes over this digest notices the other files, too.
    Raises FileNotFoundError for a pattern without a file.
    """
    files: set[Path] = set()
    for pattern in ("text/*.py", *patterns):
        found = [path for path in PACKAGE.glob(pattern) if path.is_file()]
        if not found:
            raise FileNotFoundError(f"no file of the package matches {pattern}")
        files.update(found)
    return xxhash.xxh3_128_hexdigest(b"\0".join(path.read_bytes() for path in sorted(files)))


def pointer(context: Any, builder: Any, array: Any, array_type: Any, index: Any, kind: Any = WORD) -> Any:
    """Return where an array has an index, as a pointer to a `kind`."""
    struct = cgutils.create_struct_proxy(array_type)(context, builder, array)
    return builder.bitcast(builder.gep(struct.data, [index]), kind.as_pointer())


def splat(kind: Any, value: int) -> Any:
    """Return the vector of one value."""
    return ir.Constant(kind, [value] * kind.count)


@typed_intrinsic
def load_u64(typing_context: Any, array: Any, index: Any) -> Any:
    """Eight bytes of a uint8 array at any index as little-endian uint64. The caller keeps index + 8 <= array.size."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(pointer(context, builder, args[0], signature.args[0], args[1]), align=1)

    return types.uint64(array, types.int64), codegen


@typed_intrinsic
def store_u64(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a uint64 as eight little-endian bytes of a uint8 array at any index. The caller keeps index + 8 <= size."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], pointer(context, builder, args[0], signature.args[0], args[1]), align=1)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.uint64), codegen


@typed_intrinsic
def trailing_zeros(typing_context: Any, value: Any) -> Any:
    """How many zero bits are below the lowest set bit of a uint64; 64 if none is set."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@typed_intrinsic
def count_ones(typing_context: Any, value: Any) -> Any:
    """How many bits of a uint64 are set."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen


@typed_intrinsic
def letters_ahead(typing_context: Any, array: Any, index: Any) -> Any:
    """How many ASCII letters there are from any index of a uint8 array on, before the first other byte; at most 32. The
    caller keeps index + 32 <= array.size."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        block = builder.load(pointer(context, builder, args[0], signature.args[0], args[1], BYTES_32), align=1)
        lower = builder.or_(block, splat(BYTES_32, 0x20))
        letters = builder.icmp_unsigned("<", builder.sub(lower, splat(BYTES_32, ord("a"))), splat(BYTES_32, 26))
        others = builder.not_(builder.bitcast(letters, ir.IntType(32)))
        return builder.zext(builder.cttz(others, ir.Constant(ir.IntType(1), 0)), WORD)

    return types.int64(array, types.int64), codegen


@typed_intrinsic
def bytes_equal(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """A bit for each of the 64 bytes of a uint8 array from any index on: whether it is `value` (a uint8). The caller
    keeps index + 64 <= array.size."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        block = builder.load(pointer(context, builder, args[0], signature.args[0], args[1], BYTES_64), align=1)
        first = builder.insert_element(ir.Constant(BYTES_64, ir.Undefined), args[2], ir.Constant(ir.IntType(32), 0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
        values = builder.shuffle_vector(first, ir.Constant(BYTES_64, ir.Undefined), lanes)
        return builder.bitcast(builder.icmp_unsigned("==", block, values), WORD)

    return types.uint64(array, types.int64, types.uint8), codegen


@typed_intrinsic
def multiply_fold(typing_context: Any, left: Any, right: Any) -> Any:
    """The upper half of the 128-bit product of two uint64, xor the lower half."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        upper = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), WORD)
        return builder.xor(upper, builder.trunc(product, WORD))

    return types.uint64(types.uint64, types.uint64), codegen


@typed_intrinsic
def multiply_61(typing_context: Any, left: Any, right: Any) -> Any:
    """The product of two uint64 modulo 2^61 - 1, which is prime. The caller keeps both under it."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        prime = ir.Constant(WORD, (1 << 61) - 1)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        upper = builder.trunc(builder.lshr(product, ir.Constant(wide, 61)), WORD)
        total = builder.add(upper, builder.and_(builder.trunc(product, WORD), prime))
        return builder.select(builder.icmp_unsigned(">=", total, prime), builder.sub(total, prime), total)

    return types.uint64(types.uint64, types.uint64), codegen


ONES = np.uint64(0xFFFFFFFFFFFFFFFF)
U3, U64 = np.uint64(3), np.uint64(64)


@compiled
def load_part(data: Bytes, at: int, size: int) -> Any:
    """The first `size` bytes, at most eight, from `at` on as little-endian uint64; zero if there are none."""
    if size <= 0:
        return np.uint64(0)
    if at + 8 <= data.size:
        part = load_u64(data, at)
        return part if size >= 8 else part & (ONES >> (U64 - (np.uint64(size) << U3)))
    part = np.uint64(0)
    for byte in range(min(size, 8)):
        part |= np.uint64(data[at + byte]) << (np.uint64(byte) << U3)
    return part
