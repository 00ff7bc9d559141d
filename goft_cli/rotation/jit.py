"""How the loops of `goft_cli.rotation.loops` are compiled, and a step that compilers do not find.

What Numba keeps on disk it makes anew when the text of `loops` changes, not when this one does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numba
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from goft_cli.rotation import team

Function = TypeVar("Function", bound=Callable[..., None])

WORDS = 8
"""Numbers in a vector of `transpose`: 256 bits, which LLVM halves where it has to."""

carray: Callable[..., Any] = numba.carray  # pyright: ignore[reportPrivateImportUsage]
"""An array at an address: carray(address, shape, dtype)."""


def compiled(function: Function, inline: bool = False) -> Function:
    """Compile at the first call, and keep the result on disk where that is possible.

    Of all that fast mathematics stands for, two things are allowed: fused products and sums, and
    sums over lanes in another order, which is the same in each call.
    """
    fast = {"contract", "reassoc"}
    options: dict[str, Any] = {"fastmath": fast, "error_model": "numpy", "forceinline": inline}
    return _kept(lambda cache: numba.njit(cache=cache, **options)(function))


def inlined(function: Function) -> Function:
    """For loops over lanes, run once a pair: a call would take as long as they do."""
    return compiled(function, inline=True)


def for_a_team(function: Callable[[Any], None]) -> Any:  # noqa: ANN401 - Numba has no types
    """Compile at once to a function of C that takes a table of addresses: see `team.run`."""
    signature = types.void(types.CPointer(types.voidptr))
    return _kept(lambda cache: numba.cfunc(signature, cache=cache)(function))


def function_of_team(name: str, result: Any) -> Any:  # noqa: ANN401 - Numba has no types
    """A function of the threads' library without arguments, for compiled code to call.

    Raises:
        AttributeError: the library has none of that name.
    """
    binding.add_symbol(name, team.address(name))
    return types.ExternalFunction(name, result())


def _kept(compile_with: Callable[[bool], Any]) -> Any:  # noqa: ANN401 - Numba has no types
    try:
        return compile_with(True)
    except RuntimeError:  # neither beside the source nor in the user's folder can be written
        return compile_with(False)


def _typed(
    _: Any,  # noqa: ANN401 - Numba has no types
    source: Any,  # noqa: ANN401
    row: Any,  # noqa: ANN401
    column: Any,  # noqa: ANN401
    target: Any,  # noqa: ANN401
    target_row: Any,  # noqa: ANN401
    target_column: Any,  # noqa: ANN401
) -> tuple[Any, Callable[..., ir.Value]]:
    signature = types.void(source, row, column, target, target_row, target_column)
    return signature, _transposing


def _transposing(
    context: Any,  # noqa: ANN401 - Numba has no types
    builder: ir.IRBuilder,
    signature: Any,  # noqa: ANN401
    arguments: Sequence[ir.Value],
) -> ir.Value:
    """Exchange single numbers of neighbouring rows, then pairs, then halves."""
    vector = ir.VectorType(ir.FloatType(), WORDS)

    def rows_of(first: int) -> list[ir.Value]:
        matrix, row, column = arguments[first : first + 3]
        array = context.make_array(signature.args[first])(context, builder, matrix)
        stride = cgutils.unpack_tuple(builder, array.shape)[1]
        at, places = builder.add(builder.mul(row, stride), column), []
        for _ in range(WORDS):
            places.append(builder.bitcast(builder.gep(array.data, [at]), vector.as_pointer()))
            at = builder.add(at, stride)
        return places

    rows: list[ir.Value] = [builder.load(place, align=4) for place in rows_of(0)]
    for step in (1, 2, 4):
        for upper in (row for row in range(WORDS) if not row & step):
            pair = rows[upper], rows[upper + step]
            for part, row in enumerate((upper, upper + step)):
                picked = [
                    (column & ~step) + part * step + (WORDS if column & step else 0)
                    for column in range(WORDS)
                ]
                mask = ir.Constant(ir.VectorType(ir.IntType(32), WORDS), picked)
                rows[row] = builder.shuffle_vector(*pair, mask)
    for value, place in zip(rows, rows_of(3), strict=True):
        builder.store(value, place, align=4)
    return context.get_dummy_value()


transpose: Callable[..., None] = intrinsic(_typed)
"""Copy WORDS x WORDS numbers, transposed: transpose(source, row, column, target, row, column).

In LLVM's own words, for what it makes of loops moves number by number and takes twice as long. Both
are contiguous float32 matrices. That the places lie inside of them is not checked.
"""
