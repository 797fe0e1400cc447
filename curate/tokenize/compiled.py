"""How the kernels of this package are compiled, and the machine instructions that they name.

Kernels are nopython and nogil, without fastmath and without numba's reference counting (`_nrt=False`), so that they
cannot allocate: callers pass scratch arrays. An index is never negative and never beyond the array. Only entry points
are cached on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xxhash
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Spans = NDArray[np.int32]
Words = NDArray[np.uint64]

# numba's stubs know neither the option _nrt nor that a compiled function is called like the Python one
_njit: Any = njit
as_int: Any = np.int64  # in compiled code; int() of an unsigned integer would stay unsigned

Function = TypeVar("Function", bound=Callable[..., Any])


def _typed_intrinsic(function: Callable[..., Any]) -> Any:
    return intrinsic(function)


def compiled(function: Function) -> Function:
    """Compile a helper when the entry point that calls it is compiled."""
    return _njit(nogil=True, _nrt=False)(function)


def cached(function: Function) -> Function:
    """Compile an entry point, and keep it on disk."""
    return _njit(nogil=True, cache=True, _nrt=False)(function)


def source_digest(*names: str) -> str:
    """Return a digest of files of this folder that compiled code is made from; this one is always among them.

    numba's cache on disk watches only the file of the function that it caches. A closure variable belongs to the key of
    that cache: an entry point that closes over this digest notices the other files, too.
    """
    folder = Path(__file__).parent
    names = (Path(__file__).name, *names)
    return xxhash.xxh3_128_hexdigest(b"\0".join((folder / name).read_bytes() for name in names))


@_typed_intrinsic
def load_u64(typing_context: Any, array: Any, index: Any) -> Any:
    """Eight bytes of a uint8 array at any index as little-endian uint64. The caller keeps index + 8 <= array.size."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        struct = cgutils.create_struct_proxy(signature.args[0])(context, builder, args[0])
        pointer = builder.bitcast(builder.gep(struct.data, [args[1]]), ir.IntType(64).as_pointer())
        return builder.load(pointer, align=1)

    return types.uint64(array, types.int64), codegen


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
