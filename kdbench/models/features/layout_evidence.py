"""The layout of a layer's output, determined from the surrounding layers and from the effect of larger images.

A shape alone decides nothing: (B, 8, 8, 8) may be channels-first or channels-last.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import conv, pooling

from kdbench.errors import InputError
from kdbench.models.feature_hooks import require_layer
from kdbench.models.features.layer_kinds import channel_axis, is_elementwise
from kdbench.models.features.layouts import AXES, Layout, LayoutName
from kdbench.models.features.probe import Call, Probe, inputs_like, probed
from kdbench.models.features.token_evidence import is_row_by_row, tokens_of

# Layers that slide a filter; torch has no public names for the bases.
_SLIDING = (conv._ConvNd, pooling._MaxPoolNd, pooling._AvgPoolNd)  # noqa: SLF001
_BATCH = 3  # of the probe; a second one has one sample fewer


def layouts_of(
    network: nn.Module,
    layers: Sequence[str],
    example: Tensor,
    stated: LayoutName | None = None,
    *,
    side: str = "student",
) -> dict[str, Layout]:
    """Return the layout of each of `layers` of `network`, which takes batches like `example` (B, …).

    `stated` are the axes of all of them, if the user states them. `side` is "student" or "teacher", for messages.
    Raises InputError for a layer that the network does not have or use, for an output that is not one feature of each
    sample, and for axes that cannot be determined. Does not change the network.
    """
    for layer in layers:
        require_layer(network, layer)
    probe, smaller = (probed(network, layers, inputs_like(example, samples)) for samples in (_BATCH, _BATCH - 1))
    layouts = {}
    for layer in layers:
        subject = f"layer {layer!r} of {type(network).__name__}"
        if layer not in probe.outputs:
            raise InputError(f"{subject} is not used", "name a layer that every forward pass calls")
        several = _is_first_of_several(network.get_submodule(layer), probe.outputs[layer])
        feature, other = (
            _feature(outputs[layer][0] if several else outputs[layer], subject)
            for outputs in (probe.outputs, smaller.outputs)
        )
        batch_axis = _batch_axis(feature, other, subject)
        if stated is None:
            channels = _channel_axis(network, layer, probe, feature, batch_axis)
        else:
            channels = _stated_axis(stated, feature, batch_axis, subject, side)
        if channels is None:
            message = f"{subject} returns {_shape(feature)}: it is unclear which axis holds the channels"
            raise InputError(message, f"state its axes: {side}_layout = {_choices(feature.dim())}")
        layout = _with_places(network, layer, Layout(channels, batch_axis), probe, feature, stated, side)
        if stated == "class_token" and not layout.before + layout.after:
            raise InputError(f"{subject} has no class token", f'set {side}_layout = "NLC", or leave it out')
        layouts[layer] = replace(layout, first_of_several=several)
    return layouts


def _with_places(
    network: nn.Module, layer: str, layout: Layout, probe: Probe, feature: Tensor, stated: LayoutName | None, side: str
) -> Layout:
    """Return the layout of a layer's `feature`, completed by the meaning of its positions, as far as known."""
    takes_images = probe.inputs.dim() == 4
    if feature.dim() == 4 and takes_images and stated is None:
        same = _same(probe.calls, feature)
        return replace(layout, of_image=_is_of_the_image(network, layer, layout, probe, feature, same))
    if feature.dim() != 3:
        return layout
    tokens = tokens_of(network, layout, probe, feature)
    transposed = replace(layout, channel_axis=3 - layout.batch_axis - layout.channel_axis)
    if stated is None and takes_images and tokens.grid is None:
        # A linear layer may work on the positions, as in a mixer: changes of the image show which axis has them.
        others = tokens_of(network, transposed, probe, feature)
        if others.grid is not None:
            layout, tokens = transposed, others
    if stated is not None:  # the user's statement is not checked
        tokens = replace(tokens, reordered=False)
    elif tokens.unclear:
        message = (
            f"layer {layer!r} of {type(network).__name__}: its tokens may include class tokens of an earlier layer"
        )
        raise InputError(message, f'name an earlier layer, or state {side}_layout = "NLC" for all tokens')
    in_order = not takes_images and not tokens.reordered
    fields = {key: value for key, value in asdict(tokens).items() if key != "unclear"}
    return replace(layout, **fields, in_order=in_order, class_token=stated == "class_token")


def _is_first_of_several(module: nn.Module, output: Any) -> bool:
    """Return whether the feature is the first item of a tuple: of known layers, or if it is the only tensor in it."""
    if not isinstance(output, tuple) or not output or not isinstance(output[0], Tensor):
        return False
    known = isinstance(module, nn.RNNBase | nn.MultiheadAttention)
    return known or not any(isinstance(item, Tensor | tuple | list | dict) for item in output[1:])


def _feature(output: Any, subject: str) -> Tensor:
    """Return an output if it is a feature; raises InputError otherwise."""
    if isinstance(output, Tensor) and output.is_floating_point() and 2 <= output.dim() <= 5:
        return output
    form = _shape(output) if isinstance(output, Tensor) else type(output).__name__
    message = f"{subject} returns {form}, but maps (channels, height, width), tokens or vectors are needed"
    raise InputError(message, "name a layer that returns maps, tokens or vectors")


def _shape(feature: Tensor) -> str:
    return str(tuple(feature.shape[1:]))


def _choices(rank: int) -> str:
    return " or ".join(f'"{name}"' for name, (axes, _, _) in AXES.items() if axes == rank and name != "class_token")


def _batch_axis(feature: Tensor, other: Tensor, subject: str) -> int:
    """Return the axis whose size is the number of samples, in each of two batches."""
    sizes = list(zip(feature.shape, other.shape, strict=False))
    axes = [axis for axis, pair in enumerate(sizes) if pair == (_BATCH, _BATCH - 1)]
    if len(axes) != 1 or feature.dim() != other.dim():
        message = f"{subject} returns {tuple(feature.shape)} for {_BATCH} samples, not one feature for each"
        raise InputError(message, "name a layer that returns one, such as the surrounding block")
    return axes[0]


def _stated_axis(stated: LayoutName, feature: Tensor, batch_axis: int, subject: str, side: str) -> int | None:
    rank, batch, channels = AXES[stated]
    if rank != feature.dim() or batch != batch_axis:
        message = f"{side}_layout is {stated!r}, and {subject} returns {tuple(feature.shape)} for {_BATCH} samples"
        raise InputError(message, f"state the axes of this output, or leave {side}_layout out")
    return channels


def _channel_axis(network: nn.Module, layer: str, probe: Probe, feature: Tensor, batch_axis: int) -> int | None:
    """Return the axis of the channels; None if it cannot be determined."""
    places = [axis for axis in range(feature.dim()) if axis != batch_axis]
    if len(places) == 1:
        return places[0]
    for sure in (True, False):
        votes = _votes(probe.calls, _same(probe.calls, feature), sure=sure)
        if len(votes) > 1:
            return None
        if votes:
            return votes.pop()
    axis = _unchanged_axis(network, layer, probe, feature, batch_axis)
    if axis is not None:
        return axis
    everywhere = {id(tensor) for tensor in probe.seen if tensor.dim() == feature.dim()}
    votes, sized = _votes(probe.calls, everywhere, sure=True), _axis_of_last_size(probe.calls, feature, places)
    if len(votes) == 1 and sized in {*votes, None}:
        return votes.pop()
    return sized


def _same(calls: Sequence[Call], feature: Tensor) -> set[int]:
    """Return the ids of `feature` and of the tensors that differ from it only by element-wise layers."""
    same, before = {id(feature)}, 0
    pairs = [
        {id(call.input), id(call.output)}
        for call in calls
        if is_elementwise(call.module) and call.input is not None and call.output is not None
    ]
    while len(same) > before:
        before = len(same)
        same = same.union(*(pair for pair in pairs if pair & same))
    return same


def _votes(calls: Sequence[Call], tensors: set[int], *, sure: bool) -> set[int]:
    """Return the channel axes of the `tensors` according to the layers whose inputs or outputs they are."""
    return {
        axis
        for call in calls
        for tensor in (call.input, call.output)
        if tensor is not None and id(tensor) in tensors
        if (axis := channel_axis(call.module, tensor, sure=sure)) is not None
    }


def _unchanged_axis(network: nn.Module, layer: str, probe: Probe, feature: Tensor, batch_axis: int) -> int | None:
    """Return the only axis whose size stays when inputs are larger; None if there is none, or several."""
    for inputs in _enlarged(probe.inputs):
        output = probed(network, [layer], inputs, fails=True).outputs.get(layer)
        if isinstance(output, Tensor) and output.dim() == feature.dim() and output.shape[batch_axis] == len(inputs):
            sizes = enumerate(zip(feature.shape, output.shape, strict=True))
            kept = [axis for axis, (size, other) in sizes if size == other and axis != batch_axis]
            if len(kept) == 1:
                return kept[0]
    return None


def _enlarged(inputs: Tensor) -> Iterator[Tensor]:
    """Yield inputs of twice the height and width; if they are not images, inputs of twice the length, axis by axis."""
    groups = [range(2, inputs.dim())] if inputs.dim() >= 4 else [[axis] for axis in range(1, inputs.dim())]
    for axes in groups:
        repeats = [2 if axis in axes else 1 for axis in range(inputs.dim())]
        yield inputs.repeat(repeats)


def _axis_of_last_size(calls: Sequence[Call], feature: Tensor, places: Sequence[int]) -> int | None:
    """Return the only axis whose size equals the channels of the last known layer before; None if there is none."""
    ends = [number for number, call in enumerate(calls) if call.output is feature]
    for call in reversed(calls[: ends[-1]] if ends else []):
        if call.output is None or call.output.dim() != feature.dim():
            continue
        axis = channel_axis(call.module, call.output, sure=True)
        if axis is not None:
            matching = [place for place in places if feature.shape[place] == call.output.shape[axis]]
            return matching[0] if len(matching) == 1 else None
    return None


def _is_of_the_image(
    network: nn.Module, layer: str, layout: Layout, probe: Probe, feature: Tensor, same: set[int]
) -> bool:
    """Return whether the canonical map (B, C, h, w) of `feature`, an output of `layer`, has the image's h × w cells.

    `same` are the ids of `feature` and of tensors that differ from it only element by element. It is a map if a filter
    slides over one of these; else the effects of higher and wider images decide, else those of changes of single cells.
    """
    for call in probe.calls:
        if isinstance(call.module, _SLIDING) and {id(call.input), id(call.output)} & same and _slides(call.module):
            return True
    shape = layout.canonical(feature).shape[2:]
    kept = [
        layout.canonical(output).shape[2 + axis] == shape[axis]
        for axis, repeats in ((1, (1, 1, 2, 1)), (0, (1, 1, 1, 2)))
        if isinstance(output := _output(network, layer, probe.inputs[:1].repeat(repeats)), Tensor)
        and output.dim() == feature.dim()
    ]
    if len(kept) == 2:
        return all(kept)
    rows, columns = shape
    fits = rows <= probe.inputs.shape[2] and columns <= probe.inputs.shape[3]
    first = next(place for place, tensor in enumerate(probe.seen) if tensor.shape == feature.shape)
    return fits and is_row_by_row(network, layout, probe, feature, first, 0, (rows, columns))


def _slides(module: Any) -> bool:
    sizes = module.kernel_size
    return any(size > 1 for size in (sizes if isinstance(sizes, tuple) else (sizes,)))


def _output(network: nn.Module, layer: str, inputs: Tensor) -> Any:
    return probed(network, [layer], inputs, fails=True).outputs.get(layer)
