"""Metrics of the energy that a model and its training use, and the time of the training."""

from functools import partial

from kdbench import units
from kdbench.results.metrics.metric import BETWEEN_RUNS, Metric

_Sampled = partial(Metric, higher_is_better=False, hardware_dependent=True, run_to_run=BETWEEN_RUNS)
_Energy = partial(_Sampled, unit="J", text=units.energy, plus_minus=units.energy_plus_minus)
_CO2 = partial(_Sampled, unit="g", text=units.mass, plus_minus=units.mass_plus_minus)

ENERGY = (
    _Energy(
        "energy_j",
        "Energy / inference",
        formula="gross energy of a window / inferences in it, the median of the windows",
        group="energy",
        versus_teacher="ratio",
    ),
    _Energy(
        "energy_net_j",
        "Net energy / inference",
        formula="(gross energy of a window - idle power x its length) / inferences in it, the median of the windows; "
        "idle is the machine with the models loaded",
        group="energy",
    ),
    _Energy(
        "energy_run_j",
        "Energy / run",
        formula="gross energy of a window / calls in it, the median of the windows: one call runs one batch",
        group="energy",
    ),
    _CO2(
        "co2_g", "CO₂e / inference", formula="energy_j x carbon intensity of the country's electricity", group="energy"
    ),
    _Sampled(
        "training_s",
        "Training time",
        unit="s",
        formula="wall time of the epochs, validation included",
        text=units.duration,
        group="training",
    ),
    _Energy(
        "training_j", "Training energy", formula="gross energy of the epochs, validation included", group="training"
    ),
    _CO2(
        "training_co2_g",
        "Training CO₂e",
        formula="training_j x carbon intensity of the country's electricity",
        group="training",
    ),
)
