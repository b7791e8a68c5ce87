"""The meaning of a network's tokens: class tokens, the cells of a map row by row, or the steps of a sequence."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdbench.models.features.layer_kinds import channel_axis
from kdbench.models.features.layouts import Layout
from kdbench.models.features.probe import Probe, other_ids, probed

_ROUNDING = 1e-4  # of changes of tokens


@dataclass(frozen=True)
class Tokens:
    """The numbers of class tokens at the beginning and the end; the grid of the others, if they are cells of a map.

    `reordered` is True if they are the steps of a sequence in another order, `unclear` if class tokens of an earlier
    layer may be among them.
    """

    before: int
    after: int
    grid: tuple[int, int] | None
    reordered: bool = False
    unclear: bool = False


def tokens_of(network: nn.Module, layout: Layout, probe: Probe, feature: Tensor) -> Tokens:
    """Return the meaning of the tokens of `feature`, an output in `probe` with the axes of `layout`."""
    count = layout.canonical(feature).shape[1]
    first = _first_appearance(layout, probe, count)
    if first is None:
        return Tokens(0, 0, None)
    before, after = _class_tokens(layout.canonical(probe.seen[first]))
    if probe.inputs.dim() < 4:
        axes = [axis for axis in range(1, probe.inputs.dim()) if probe.inputs.shape[axis] == count - before - after > 1]
        orders = [_is_in_order(network, layout, probe, feature, first, before, axis) for axis in axes]
        return Tokens(before, after, None, reordered=False in orders and True not in orders)
    unclear = False
    if probe.inputs.dim() == 4 and not before and not after and count > 1:
        before, after = _tokens_around_map(layout, probe, first)
        unclear = not before and not after and _had_class_tokens(layout, probe, first)
    grids = _possible_grids(probe, count - before - after) if probe.inputs.dim() == 4 else []
    right = [grid for grid in grids if is_row_by_row(network, layout, probe, feature, first, before, grid)]
    return Tokens(before, after, right[0] if len(right) == 1 else None, unclear=unclear)


def _first_appearance(layout: Layout, probe: Probe, count: int) -> int | None:
    """Return the index, among the tensors that `probe` has seen, of the first one with `count` tokens; else None."""
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


def _tokens_around_map(layout: Layout, probe: Probe, first: int) -> tuple[int, int]:
    """Return how many tokens precede and follow the cells of a map among the tokens with the index `first`.

    A network in stages, such as PiT, pools the cells as a map and appends them to the class token of the stage before,
    which already depends on the sample.
    """
    tokens = layout.canonical(probe.seen[first])
    for tensor in probe.seen[:first]:
        if tensor.dim() == 4 and tensor.shape[:2] == (len(tokens), tokens.shape[2]):
            cells = tensor.flatten(2).transpose(1, 2)
            others = tokens.shape[1] - cells.shape[1]
            if others > 0 and torch.equal(tokens[:, others:], cells):
                return others, 0
            if others > 0 and torch.equal(tokens[:, : cells.shape[1]], cells):
                return 0, others
    return 0, 0


def _had_class_tokens(layout: Layout, probe: Probe, first: int) -> bool:
    """Return whether tokens before the index `first` had class tokens, which may still be among its tokens."""
    for tensor in probe.seen[:first]:
        fits = tensor.dim() == 3 and tensor.shape[layout.batch_axis] == len(probe.inputs)
        if fits and _class_tokens(layout.canonical(tensor)) != (0, 0):
            return True
    return False


def _possible_grids(probe: Probe, tokens: int) -> list[tuple[int, int]]:
    """Return the heights and widths of maps with as many cells as tokens: of convolutions, or of square patches."""
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
    """Return whether the tokens of `feature`, or the positions of a map, are the cells of the `grid`, row by row.

    Changing the image in some cells shows the order of the tensor with the index `first`, where each token depends on
    its own cell only, and of every later tensor in which the network reorders tokens, as Hiera does before its blocks.
    The first `before` tokens are no cells.
    """
    rows, columns = grid
    cells = [(0, columns - 1), (rows - 1, 0), *([(1, 0)] if rows > 2 else [])]
    expected = [before + row * columns + column for row, column in cells]
    changed = _changed_in(probe.inputs[:1], cells, grid)
    right = False
    for changes in _reorderings(network, layout, probe, feature, first, changed):
        right = changes is not None and changes.argmax(dim=1).tolist() == expected
    return right


def _is_in_order(
    network: nn.Module, layout: Layout, probe: Probe, feature: Tensor, first: int, before: int, axis: int
) -> bool | None:
    """Return whether the tokens of `feature` are the steps on an `axis` of the inputs, in order; None if unknown.

    Changing single steps shows it, as in `is_row_by_row`, if each changes one token of the tensor with index `first`.
    """
    steps = [probe.inputs.shape[axis] - 1, *range(min(2, probe.inputs.shape[axis] - 1))]
    expected = [before + step for step in steps]
    in_order: bool | None = None
    for changes in _reorderings(network, layout, probe, feature, first, _changed_at(probe.inputs, steps, axis)):
        if changes is None or (in_order is None and (changes > 0).sum(dim=1).ne(1).any()):
            return None
        in_order = changes.argmax(dim=1).tolist() == expected
    return in_order


def _reorderings(
    network: nn.Module, layout: Layout, probe: Probe, feature: Tensor, first: int, changed: Tensor
) -> Iterator[Tensor | None]:
    """Yield the change of each token, (B − 1, N), in the tensor with index `first` and after each reordering.

    The first of the inputs `changed` (B, …) is the original, from which the others differ. Ends at `feature`. Yields
    None as the last value if the network takes another path than in the probe.
    """
    again = probed(network, [], changed)
    last = max((place for place, tensor in enumerate(probe.seen) if tensor is feature), default=first)
    previous = None
    for place in range(first, last + 1):
        tensor = probe.seen[place]
        if place >= len(again.seen) or again.seen[place].dim() != tensor.dim():
            yield None
            return
        if place != first and not _has_tokens_of(tensor, feature, layout):
            continue
        tokens = _tokens(layout.canonical(again.seen[place]))
        if tokens.shape[1:] != _tokens(layout.canonical(tensor)).shape[1:] or len(tokens) != len(changed):
            yield None
            return
        changes = (tokens[1:] - tokens[:1]).square().sum(dim=2)
        if previous is None or _is_reordered(previous, changes):
            yield changes
        previous = changes


def _has_tokens_of(tensor: Tensor, feature: Tensor, layout: Layout) -> bool:
    """Return whether a tensor has as many samples and tokens, or positions of a map, as `feature`, and any width."""
    if tensor.dim() != feature.dim():
        return False
    sizes = [
        [size for axis, size in enumerate(values.shape) if axis != layout.channel_axis] for values in (tensor, feature)
    ]
    return sizes[0] == sizes[1]


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


def _changed_at(inputs: Tensor, steps: Sequence[int], axis: int) -> Tensor:
    """Return the first of `inputs`, followed by one that differs at a step on an `axis` for each of `steps`."""
    original = inputs[:1]
    other = original + 1 if original.is_floating_point() else other_ids(original, inputs, 1)
    changed = original.repeat(1 + len(steps), *(1,) * (inputs.dim() - 1))
    for sample, step in enumerate(steps, start=1):
        changed[sample].select(axis - 1, step).copy_(other[0].select(axis - 1, step))
    return changed


def _is_reordered(previous: Tensor, changes: Tensor) -> bool:
    """Return whether the changes (cells, tokens) are the `previous` ones in another order."""
    return not _alike(previous, changes) and _alike(previous.sort(dim=1).values, changes.sort(dim=1).values)


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _ROUNDING * one.abs().max())
