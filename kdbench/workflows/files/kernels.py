"""The kernels of this machine for compressed files: the share that runs in integers, and layers that stay slow."""

from collections.abc import Iterable

from kdbench.compress.kernels import Kernels, kernels_of
from kdbench.errors import KdbenchError
from kdbench.measure.bench_model import BenchModel
from kdbench.modelfile.layouts import sizes_in
from kdbench.recipe import Measure
from kdbench.results.cards import Bits
from kdbench.results.findings import Findings
from kdbench.results.records import Diagnostic, Measurement, measured, missing

_SOURCE = "graph that onnxruntime makes of the file"


def kernel_findings(models: Iterable[BenchModel], config: Measure) -> Findings:
    """Return the integer share of each quantized or compressed model that is measured, and warnings about them.

    Of the models of one name, which differ in their training seed, only the first has a warning.
    """
    measurements: list[Measurement] = []
    warnings: dict[str, Diagnostic | None] = {}
    for model in models:
        card = model.card
        if model.refusal is not None or not (card.variant or card.bits or model.facts.quantized):
            continue
        if config.provider != "cpu":
            reason = f"kernels are read only for the provider cpu, not for {config.provider}"
            measurements.append(missing(model.id, "integer_share", reason, source=_SOURCE))
            continue
        try:
            facts = model.facts
            kernels = kernels_of(model.path, sizes_in(facts.sample_shape, facts.layout, card.input_shape))
        except KdbenchError as error:  # a file that does not load: its other numbers are missing too
            reason, hint = error.message, error.hint
            measurements.append(missing(model.id, "integer_share", reason, status="error", hint=hint, source=_SOURCE))
            continue
        measurements.append(measured(model.id, "integer_share", kernels.integer_share, source=_SOURCE))
        if card.name not in warnings:
            warnings[card.name] = (
                few_bits_diagnostic(model.id, card.bits, kernels) if card.bits else kernel_diagnostic(model.id, kernels)
            )
    return Findings(tuple(measurements), warnings=tuple(filter(None, warnings.values())))


def kernel_diagnostic(id_: str, kernels: Kernels) -> Diagnostic | None:
    """Return a warning if this machine's CPU has no kernel for some layers of a compressed file in their stored type.

    A file without integer kernels and casts, such as one with pruned weights, has none.
    """
    integer, layers = len(kernels.integer), len(kernels.layers)
    if integer and kernels.floating:
        share = f"{100 * kernels.integer_share:.0f} % of its multiply–accumulates"
        message = f"{integer} of {layers} layers, {share}, run as integer kernels on this machine"
    elif kernels.casts:
        message = f"{kernels.casts} casts run between float16 and float32: this CPU has no kernel for some layers"
    else:
        return None
    remedy = "its times are those of this machine: another processor or runtime may have kernels for the other layers"
    return Diagnostic(code="kernels", message=message, remedy=remedy, model=id_)


def few_bits_diagnostic(id_: str, bits: Bits, kernels: Kernels) -> Diagnostic:
    """Return how the file stores a network that was trained with few bits, and how many layers compute in integers."""
    return Diagnostic(
        code="quantized",
        message=f"weights of {bits.weights} bits and activations of {bits.activations} ({bits.first_last} in its "
        "first and last layer) are kept as 8-bit integers; onnxruntime's CPU kernels compute "
        f"{len(kernels.integer)} of {len(kernels.layers)} layers in integers, the others in float32",
        remedy="its size and times are those of 8-bit weights in this runtime: hardware that supports its bits may "
        "need less",
        model=id_,
    )
