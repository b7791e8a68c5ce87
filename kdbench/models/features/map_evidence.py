"""Whether the axes of a map are the rows and columns of the image, and not windows and their cells, or heads."""

from typing import Any

from torch import Tensor, nn
from torch.nn.modules import conv, pooling

from kdbench.models.features.layouts import Layout
from kdbench.models.features.probe import Probe, probed
from kdbench.models.features.token_evidence import is_row_by_row

# torch has no public names for the bases.
_SLIDING = (conv._ConvNd, pooling._MaxPoolNd, pooling._AvgPoolNd)  # noqa: SLF001


def is_of_the_image(
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
