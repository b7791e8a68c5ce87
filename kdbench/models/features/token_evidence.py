"""What the tokens of a network stand for: class tokens, the cells of a map row by row, or the steps of a sequence."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdbench.models.features.layer_kinds import channel_axis
from kdbench.models.features.layouts import Layout
from kdbench.models.features.probe import Probe, probed


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
    right = [grid for grid in grids if _is_row_by_row(network, layout, probe, first, before, grid)]
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


def _is_row_by_row(
    network: nn.Module, layout: Layout, probe: Probe, first: int, before: int, grid: tuple[int, int]
) -> bool:
    """Return whether changes of the image in cells of the `grid` change their tokens most, counted row by row."""
    rows, columns = grid
    cells = [(0, columns - 1), (rows - 1, 0)]
    height, width = probe.inputs.shape[2] // rows, probe.inputs.shape[3] // columns
    inputs = probe.inputs[:1].repeat(len(probe.inputs), 1, 1, 1)
    for sample, (row, column) in enumerate(cells, start=1):
        inputs[sample, :, row * height : (row + 1) * height, column * width : (column + 1) * width] += 1
    again = probed(network, [], inputs)
    if len(again.seen) <= first or again.seen[first].shape != probe.seen[first].shape:
        return False
    tokens = layout.canonical(again.seen[first])
    changes = [(tokens[sample] - tokens[0]).square().sum(dim=1).argmax() for sample in (1, 2)]
    return [int(change) - before for change in changes] == [row * columns + column for row, column in cells]
