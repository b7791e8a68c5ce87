"""Diagnostics about quantized students: how the file stores their bits, and which kernels run them."""

from collections.abc import Iterator, Sequence

from kdbench.export.integers import Kernels, kernels_of
from kdbench.results.cards import Bits
from kdbench.results.records import Diagnostic
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.export import Exported


def quantization_warnings(exports: Sequence[Exported], folder: RunFolder) -> Iterator[Diagnostic]:
    """Yield a warning for each quantized model that is measured; only for the first of several seeds."""
    names = set()
    for export in exports:
        card = export.card
        if card.bits is None or export.refused is not None or card.name in names:
            continue
        names.add(card.name)
        yield Diagnostic(
            code="quantized",
            message=_message(card.bits, kernels_of(folder.model(card.id))),
            remedy="read its size and times as those of 8-bit weights in this runtime: hardware made for its bits may "
            "need less",
            model=card.id,
        )


def _message(bits: Bits, kernels: Kernels) -> str:
    layers = kernels.integer + kernels.floating
    return (
        f"weights of {bits.weights} bits and activations of {bits.activations} ({bits.first_last} in its first and "
        "last layer) are kept as 8-bit integers; onnxruntime's CPU kernels compute "
        f"{kernels.integer} of {layers} layers in integers, the others in float32"
    )
