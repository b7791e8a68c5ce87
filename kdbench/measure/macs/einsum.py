"""Multiply–accumulates of an Einstein sum."""

import math
from collections.abc import Sequence


def einsum_macs(equation: str, shapes: Sequence[Sequence[int]]) -> int | None:
    """Return the MACs of contracting two operands of `shapes`: the product of the sizes of all indices.

    None where they are not two, and where an ellipsis or a repeated index leaves the indices' sizes open: the
    cost of longer chains depends on the order in which they are contracted.
    """
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    if len(terms) != 2 or len(shapes) != 2 or "..." in equation:
        return None
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if len(set(term)) != len(shape):
            return None
        for index, size in zip(term, shape, strict=True):
            sizes[index] = max(size, sizes.get(index, 1))
    return math.prod(sizes.values())
