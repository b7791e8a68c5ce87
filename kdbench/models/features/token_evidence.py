"""What the tokens of a network stand for: class tokens, the cells of a map row by row, or the steps of a sequence."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdbench.models.features.layer_kinds import channel_axis
from kdbench.models.features.layouts import Layout
from kdbench.models.features.probe import Probe, probed

_ROUNDING = 1e-4  # of changes of tokens


@dataclass(frozen=True)
class Tokens:
    """Numbers of class tokens at the beginning and the end; the grid of the others, if they are the cells of a map."""

    before: int
    after: int
    grid: tuple[int, int] | None


def tokens_of(network: nn.Module, layout: Layout, probe: Probe, feature: Tensor) -> Tokens:
    """Return what is known of the tokens of `feature`, an output of `probe` whose axes are those of `layout`."""
    count = layout.canonical(feature).shape[1]
    first = _first_appearance(layout, probe, count)
    if first is None or not probe.inputs.is_floating_point():
        return Tokens(0, 0, None)
    before, after = _class_tokens(layout.canonical(probe.seen[first]))
    grids = _possible_grids(probe, count - before - after) if probe.inputs.dim() == 4 else []
    right = [grid for grid in grids if is_row_by_row(network, layout, probe, feature, first, before, grid)]
    return Tokens(before, after, right[0] if len(right) == 1 else None)


def _first_appearance(layout: Layout, probe: Probe, count: int) -> int | None:
    """Return the place among the tensors of `probe` of the first one with `count` tokens."""
    for place, tensor in enumerate(probe.seen):
        fits = tensor.dim() == 3 and tensor.shape[layout.batch_axis] == len(probe.inputs)
        if fits and layout.canonical(tensor).shape[1] == count:
            return place
    return None


def _class_tokens(first: Tensor) -> tuple[int, int]:
    """Return how many tokens (B, N, C) at the beginning and at the end are the same for different samples."""
    constant = torch.eq(first[0], first[1]).all(dim=1).tolist()
    if all(constant):
        return 0, 0
    return constant.index(False), constant[::-1].index(False)


def _possible_grids(probe: Probe, tokens: int) -> list[tuple[int, int]]:
    """Return heights and widths of maps of as many cells: of convolutions, or of square patches of the image."""
    maps = {
        (call.output.shape[2], call.output.shape[3])
        for call in probe.calls
        if call.output is not None and call.output.dim() == 4 and channel_axis(call.module, call.output, sure=True) == 1
    }
    height, width = probe.inputs.shape[2:]
    side = round((height * width / tokens) ** 0.5) if tokens else 0
    if side and height % side == width % side == 0:
        maps.add((height // side, width // side))
    return sorted(grid for grid in maps if grid[0] * grid[1] == tokens)


def is_row_by_row(
    network: nn.Module, layout: Layout, probe: Probe, feature: Tensor, first: int, before: int, grid: tuple[int, int]
) -> bool:
    """Return whether the tokens of `feature`, or the places of a map, are the cells of the `grid`, row by row.

    Changes of the image in some cells show the order at the place `first`, where each token knows its own cell alone,
    and then wherever a network reorders its tokens, as Hiera does before its blocks. Of tokens, `before` are others.
    """
    rows, columns = grid
    cells = [(0, columns - 1), (rows - 1, 0), *([(1, 0)] if rows > 2 else [])]
    expected = [before + row * columns + column for row, column in cells]
    again = probed(network, [], _changed_in(probe.inputs[:1], cells, grid))
    last = max((place for place, tensor in enumerate(probe.seen) if tensor is feature), default=first)
    right, previous = False, None
    for place in range(first, last + 1):
        tensor = probe.seen[place]
        if place >= len(again.seen) or again.seen[place].dim() != tensor.dim():
            return False
        if tensor.shape != feature.shape and place != first:
            continue
        tokens = _tokens(layout.canonical(again.seen[place]))
        if tokens.shape[1:] != _tokens(layout.canonical(tensor)).shape[1:] or len(tokens) != len(cells) + 1:
            return False
        changes = (tokens[1:] - tokens[:1]).square().sum(dim=2)
        if previous is None or _is_reordered(previous, changes):
            right = changes.argmax(dim=1).tolist() == expected
        previous = changes
    return right


def _tokens(canonical: Tensor) -> Tensor:
    """Return tokens (B, N, C) as they are, and maps (B, C, h, w) as tokens, row by row."""
    return canonical.flatten(2).transpose(1, 2) if canonical.dim() == 4 else canonical


def _changed_in(inputs: Tensor, cells: Sequence[tuple[int, int]], grid: tuple[int, int]) -> Tensor:
    """Return an input (1, C, H, W), followed by one that differs in a cell of the `grid` for each of `cells`."""
    height, width = inputs.shape[2] // grid[0], inputs.shape[3] // grid[1]
    changed = inputs.repeat(1 + len(cells), 1, 1, 1)
    for sample, (row, column) in enumerate(cells, start=1):
        changed[sample, :, row * height : (row + 1) * height, column * width : (column + 1) * width] += 1
    return changed


def _is_reordered(previous: Tensor, changes: Tensor) -> bool:
    """Return whether the changes (cells, tokens) are the `previous` ones in another order: no other operation is so."""
    return not _alike(previous, changes) and _alike(previous.sort(dim=1).values, changes.sort(dim=1).values)


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _ROUNDING * one.abs().max())
