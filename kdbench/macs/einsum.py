"""Multiply–accumulates of an Einstein sum."""

import math
from collections.abc import Sequence
from string import ascii_letters

Sizes = dict[str, int]


def einsum_macs(
    equation: str, shapes: Sequence[Sequence[int]], path: Sequence[tuple[int, int]] | None = None
) -> int | None:
    """Return the MACs of the Einstein sum `equation` of operands of `shapes`.

    A contraction of two operands takes the product of the sizes of all their indices, after each operand is summed over
    the indices that neither the other operand nor the result has; a single operand is summed or transposed and takes
    none. More than two operands are contracted from left to right, as in onnxruntime and torch, or by `path`: pairs of
    positions to contract, each result appended at the end. None for an equation that does not fit the shapes.
    """
    terms = _terms(equation, shapes)
    if terms is None:
        return None
    operands, result = terms
    sizes: Sizes = {}
    for term, shape in zip(operands, shapes, strict=True):
        for index, size in zip(term, shape, strict=True):
            sizes[index] = max(size, sizes.get(index, 1))  # an index of size 1 is broadcast
    left = [set(term) for term in operands]
    if path is None:  # the first two, then their result, which is at the end, with the operand that is now first
        path = [(0, 1), *((last, 0) for last in range(len(operands) - 2, 0, -1))][: len(operands) - 1]
    macs = 0
    for pair in path:
        one, other = (left[position] for position in pair)
        left = [term for position, term in enumerate(left) if position not in pair]
        kept = set(result).union(*left)
        shared = (one & other) | ((one | other) & kept)
        macs += math.prod(sizes[index] for index in shared)
        left.append((one | other) & kept)
    return macs


def _terms(equation: str, shapes: Sequence[Sequence[int]]) -> tuple[list[str], str] | None:
    """Return the indices of each operand and of the result, with ellipses expanded; None if they do not fit."""
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(shapes):
        return None
    spare = [letter for letter in ascii_letters if letter not in equation]
    widths = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)]
    if any(width < 0 or (width > 0 and "..." not in term) for width, term in zip(widths, terms, strict=True)):
        return None
    widest = max(widths, default=0)
    if widest > len(spare):
        return None
    batch = "".join(spare[:widest])  # broadcast from the last axis on
    operands = [term.replace("...", batch[widest - width :]) for term, width in zip(terms, widths, strict=True)]
    if not arrow:  # indices that appear once, in alphabetical order, after the ellipsis
        letters = inputs.replace("...", "").replace(",", "")
        result = "..." + "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    return operands, result.replace("...", batch)
