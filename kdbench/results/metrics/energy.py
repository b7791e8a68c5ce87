"""Metrics of the energy that a model and its training use, and the time of the training."""

from functools import partial

from kdbench import units
from kdbench.results.metrics.metric import BETWEEN_RUNS, Metric

_Sampled = partial(Metric, hardware_dependent=True, run_to_run=BETWEEN_RUNS)

ENERGY = (
    _Sampled(
        "energy_j",
        "Energy / inference",
        "J",
        False,
        "gross energy of a window / inferences in it, the median of the windows",
        units.energy,
        units.energy_plus_minus,
        group="energy",
        versus_teacher="ratio",
    ),
    _Sampled(
        "energy_net_j",
        "Net energy / inference",
        "J",
        False,
        "(gross energy of a window - idle power x its length) / inferences in it, the median of the windows; idle is "
        "the machine with the models loaded",
        units.energy,
        units.energy_plus_minus,
        group="energy",
    ),
    _Sampled(
        "energy_run_j",
        "Energy / run",
        "J",
        False,
        "gross energy of a window / calls in it, the median of the windows: one call runs one batch",
        units.energy,
        units.energy_plus_minus,
        group="energy",
    ),
    _Sampled(
        "co2_g",
        "CO₂e / inference",
        "g",
        False,
        "energy_j x carbon intensity of the country's electricity",
        units.mass,
        units.mass_plus_minus,
        group="energy",
    ),
    _Sampled(
        "training_s",
        "Training time",
        "s",
        False,
        "wall time of the epochs, validation included",
        units.duration,
        group="training",
    ),
    _Sampled(
        "training_j",
        "Training energy",
        "J",
        False,
        "gross energy of the epochs, validation included",
        units.energy,
        units.energy_plus_minus,
        group="training",
    ),
    _Sampled(
        "training_co2_g",
        "Training CO₂e",
        "g",
        False,
        "training_j x carbon intensity of the country's electricity",
        units.mass,
        units.mass_plus_minus,
        group="training",
    ),
)
