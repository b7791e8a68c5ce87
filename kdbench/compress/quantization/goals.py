"""Goals that a quantized file must meet: the layers that add most noise stay in float until it does."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kdbench.compress.held_out import HeldOut, Loss
from kdbench.compress.observing import Samples
from kdbench.compress.quantization.sensitivity import keep_in_float, layer_noise, output_snr_db

if TYPE_CHECKING:
    import onnx

WithFloat = Callable[[tuple[str, ...]], "onnx.ModelProto"]
"""Quantizes a model except for the layers of these names."""


@dataclass(frozen=True)
class Goal:
    """A condition on a quantized file, and the setting that requests it, as a user writes it."""

    setting: str
    is_met: "Callable[[onnx.ModelProto], bool]"


def snr_goal(floating: "onnx.ModelProto", samples: Samples, least_db: float) -> Goal:
    """Return the goal of a signal-to-noise ratio of the output of at least `least_db` on `samples`."""
    setting = f"min_snr_db = {least_db:g}"
    return Goal(setting, lambda quantized: output_snr_db(floating, quantized, samples) >= least_db)


def drop_goal(loss: "Callable[[onnx.ModelProto], Loss]", most_points: float) -> Goal:
    """Return the goal that top-1 falls by at most `most_points` percentage points, as counted by `loss`."""

    def is_met(quantized: "onnx.ModelProto") -> bool:
        of = loss(quantized)
        return 100 * (of.lost - of.gained) <= most_points * of.samples * (1 + 1e-9)  # 0.3 has no exact binary form

    return Goal(f"max_drop = {most_points:g}", is_met)


def loss_of(floating: "onnx.ModelProto", held_out: HeldOut, samples: Samples) -> "Callable[[onnx.ModelProto], Loss]":
    """Return a function that computes the loss of a quantized form of `floating`, which is run only once.

    `samples` has the names of the input and the output.
    """
    output_name = samples.output_name or floating.graph.output[0].name
    exact = held_out.of(floating, samples.input_name, output_name)
    return lambda quantized: Loss.between(exact, held_out.of(quantized, samples.input_name, output_name))


def layers_to_keep(
    floating: "onnx.ModelProto", with_float: WithFloat, samples: Samples, goals: Sequence[Goal], named: Container[str]
) -> "tuple[tuple[str, ...], onnx.ModelProto]":
    """Return the layers that have to stay in float for all `goals`, the noisiest first, and the file with them.

    Layers are ordered by the noise that each one alone adds to the output on `samples`. The layers `named` stay in any
    case; of the others as few as possible, the noisiest first. Raises InputError if not even all are enough.
    """
    quantized = with_float(())
    if all(goal.is_met(quantized) for goal in goals):
        return (), quantized
    made: dict[tuple[str, ...], onnx.ModelProto] = {}

    def holds(kept: tuple[str, ...]) -> bool:
        if not kept:
            return False  # tried above
        made.clear()
        made[kept] = with_float(kept)
        return all(goal.is_met(made[kept]) for goal in goals)

    noises = [noise.name for noise in layer_noise(floating, quantized, samples) if noise.name not in named]
    kept = keep_in_float(noises, holds, " and ".join(goal.setting for goal in goals))
    return kept, made[kept]
