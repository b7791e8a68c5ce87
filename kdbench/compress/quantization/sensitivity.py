"""The noise that quantization adds to each layer, and the layers to keep in float until a goal is met."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdbench.compress.graph_index import GraphIndex
from kdbench.compress.observing import Samples
from kdbench.compress.quantization.matching import Match, match_layers
from kdbench.errors import InputError

if TYPE_CHECKING:
    import onnx

_PREFIX = "quantized/"  # of the names of nodes and tensors that a quantized layer adds to the float graph


@dataclass(frozen=True)
class LayerNoise:
    """Signal-to-noise ratios of a quantized layer in dB, infinite without noise: 10·log₁₀(Σx² / Σ(x̂ − x)²).

    `snr_db` is that of its output in the quantized network, with the noise of all layers before it. `alone_snr_db` is
    that of the network's output if only this layer is quantized, its weights and its inputs; None if it was not
    requested. The ratio of a layer's own output does not show the effect of the noise, because a channel with little
    effect may have most of the signal.
    """

    name: str
    operator: str
    tensor: str
    snr_db: float
    alone_snr_db: float | None


def layer_noise(
    floating: "onnx.ModelProto",
    quantized: "onnx.ModelProto",
    samples: Samples,
    *,
    alone: bool = True,
    simulated: bool = False,
) -> list[LayerNoise]:
    """Return the noise of each layer on samples, worst first; empty if no layer has its tensor in both models.

    `quantized` is the QDQ form of `floating`, with the same tensor names. With `alone`, the float model runs once for
    each layer, and the result is sorted by `alone_snr_db`, which shows the effect on the network's output; otherwise by
    `snr_db`. `simulated` computes `snr_db` without integer kernels, the same on every CPU. Raises InputError for files
    that do not belong together.
    """
    matches = match_layers(floating, quantized)
    if not matches:
        return []
    reference = samples.observer(floating, [match.result for match in matches])
    running = samples.observer(quantized, [match.quantized for match in matches], simulated=simulated)
    powers = {match.name: _Power() for match in matches}
    for part in samples.parts():
        exact, noisy = reference(part), running(part)
        for match in matches:
            powers[match.name].add(exact[match.result], noisy[match.quantized])
    table = [
        LayerNoise(
            match.name,
            match.operator,
            match.result,
            powers[match.name].snr_db,
            output_snr_db(floating, quantize_one(floating, quantized, match), samples) if alone else None,
        )
        for match in matches
    ]
    return sorted(table, key=lambda noise: noise.snr_db if noise.alone_snr_db is None else noise.alone_snr_db)


def output_snr_db(floating: "onnx.ModelProto", quantized: "onnx.ModelProto", samples: Samples) -> float:
    """Return the signal-to-noise ratio in dB of the network's output on samples, without integer kernels."""
    output_name, power = samples.output_name or floating.graph.output[0].name, _Power()
    exact = samples.observer(floating, [output_name])
    noisy = samples.observer(quantized, [output_name], simulated=True)
    for part in samples.parts():
        power.add(exact(part)[output_name], noisy(part)[output_name])
    return power.snr_db


def snr_db(exact: NDArray[Any], noisy: NDArray[Any]) -> float:
    """Return the signal-to-noise ratio of `noisy` against `exact` in dB; infinite if they are equal."""
    power = _Power()
    power.add(exact, noisy)
    return power.snr_db


def keep_in_float(
    layers: Iterable[str], holds: Callable[[tuple[str, ...]], bool], goal: str = "the goal"
) -> tuple[str, ...]:
    """Return the shortest prefix of `layers`, worst first, that has to stay in float for a goal to be met.

    `holds` quantizes all layers except the given ones and returns whether the goal is met: an accuracy, or a
    signal-to-noise ratio. It is called with no layer first, then with one more each time. `goal` names the goal in the
    InputError that is raised if it is not even met with all layers in float.
    """
    order = list(layers)
    for count in range(len(order) + 1):
        if holds(kept := tuple(order[:count])):
            return kept
    message = f"{goal} is not met even with all {len(order)} layers in float: activations between them are quantized"
    raise InputError(message, "relax the goal, keep more nodes in float32 with keep_float, or choose fp16")


class _Power:
    """The sums of squares of a signal and of its noise, added up over chunks."""

    def __init__(self) -> None:
        self._signal = self._noise = 0.0

    def add(self, exact: NDArray[Any], noisy: NDArray[Any]) -> None:
        if exact.shape != noisy.shape:
            message = f"a tensor has the shape {noisy.shape} in the quantized file and {exact.shape} in the float file"
            raise InputError(message, "give the float file that it was made from")
        signal, noise = exact.astype(np.float64), noisy.astype(np.float64) - exact
        self._signal += float(np.vdot(signal, signal))
        self._noise += float(np.vdot(noise, noise))

    @property
    def snr_db(self) -> float:
        if self._noise == 0:
            return math.inf
        return 10 * math.log10(self._signal / self._noise) if self._signal else -math.inf


def quantize_one(floating: "onnx.ModelProto", quantized: "onnx.ModelProto", match: Match) -> "onnx.ModelProto":
    """Return the float model with one layer replaced by its quantized form, which reads float tensors."""
    import onnx

    target = GraphIndex.of(quantized.graph)
    copy = onnx.ModelProto()
    copy.CopyFrom(floating)
    available = {value.name for value in floating.graph.input}
    available |= {name for node in floating.graph.node for name in node.output if name != match.result}
    needed, pending = set[str](), [match.result]
    while pending:
        name = pending.pop()
        if name and name not in available and name not in needed:
            needed.add(name)
            pending += target.producers[name].input if name in target.producers else []
    for name in needed & set(target.stored):
        copy.graph.initializer.append(target.stored[name])
        copy.graph.initializer[-1].name = _PREFIX + name
    names = {name: _PREFIX + name for name in needed} | {match.result: match.exact}
    place, replaced = next((place, node) for place, node in enumerate(copy.graph.node) if match.exact in node.output)
    _rename(replaced.output, {match.exact: _PREFIX + match.exact + "/float"})
    for node in reversed([node for node in quantized.graph.node if needed.intersection(node.output)]):
        copy.graph.node.insert(place, node)
        added = copy.graph.node[place]
        added.name = _PREFIX + (node.name or node.output[0])
        _rename(added.input, names)
        _rename(added.output, names)
    _raise_opsets(copy, quantized)
    return copy


def _rename(slots: Any, names: dict[str, str]) -> None:
    for position, name in enumerate(slots):
        slots[position] = names.get(name, name)


def _raise_opsets(model: "onnx.ModelProto", other: "onnx.ModelProto") -> None:
    versions = {entry.domain: entry for entry in model.opset_import}
    for entry in other.opset_import:
        if entry.domain not in versions:
            model.opset_import.append(entry)
        elif entry.version > versions[entry.domain].version:
            versions[entry.domain].version = entry.version
    model.ir_version = max(model.ir_version, other.ir_version)
