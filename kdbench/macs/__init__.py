"""Multiply–accumulates of one inference, of a torch module (`torch_counter`) or of an ONNX file (`onnx_counter`).

One multiply–accumulate counts one. The canonical count, which papers call MAdds, covers convolutions, linear layers and
matrix products at batch 1. It leaves out bias, normalisation, activation and pooling, so that folding batch norm or
quantizing the graph does not change it. Operations on weights only (the position bias of Swin v2) are not counted,
because the graph may already contain their result.

The ONNX counter imports `modelfile` and no torch; `torch_counter` and `hooked` import torch and fvcore.
`measure.passes` and `cli` import this folder.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Self

Convention = Literal["canonical", "fvcore", "thop", "ptflops"]

LayerMacs = tuple[str, str, int]
"""A layer's name, its operator, its multiply–accumulates."""


@dataclass(frozen=True)
class MacsReport:
    """Multiply–accumulates at batch 1 under a convention.

    `by_layer` lists the counted layers, in the order of the model. `uncounted` names the operators for which the
    convention has no rule: they may hold MACs, so `macs` is a lower bound unless it is empty.
    """

    macs: int
    convention: Convention
    by_layer: tuple[LayerMacs, ...]
    uncounted: tuple[str, ...]

    @classmethod
    def of(cls, convention: Convention, layers: Iterable[LayerMacs], uncounted: Iterable[str]) -> Self:
        """Sum up `layers`, leaving out layers without MACs; sort `uncounted`, each operator once."""
        by_layer = tuple(layer for layer in layers if layer[2])
        return cls(sum(macs for *_, macs in by_layer), convention, by_layer, tuple(sorted(set(uncounted))))
