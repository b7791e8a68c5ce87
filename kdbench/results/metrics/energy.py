"""Metrics of the energy that a model and its training use, and the time of the training."""

from functools import partial

from kdbench import units
from kdbench.results.metrics.metric import BETWEEN_RUNS, Metric

_Sampled = partial(Metric, higher_is_better=False, hardware_dependent=True, run_to_run=BETWEEN_RUNS)
_Energy = partial(_Sampled, unit="J", text=units.energy, plus_minus=units.energy_plus_minus)
_CO2 = partial(_Sampled, unit="g", text=units.mass, plus_minus=units.mass_plus_minus)

# fmt: off
ENERGY = (
    _Energy("energy_j", "Energy / inference", group="energy", versus_teacher="ratio",
        formula="gross energy of a window / inferences in it, the median of the windows"),
    _Energy("energy_net_j", "Net energy / inference", group="energy",
        formula="(gross energy of a window - idle power x its length) / inferences in it, the median of the "
        "windows; idle is the machine with the models loaded"),
    _Energy("energy_run_j", "Energy / run", group="energy",
        formula="gross energy of a window / calls in it, the median of the windows: one call runs one batch"),
    _CO2("co2_g", "CO₂e / inference", group="energy",
        formula="energy_j x carbon intensity of the country's electricity"),
    _Sampled("training_s", "Training time", unit="s", text=units.duration, group="training",
        formula="wall time of the epochs, validation included"),
    _Energy("training_j", "Training energy", group="training",
        formula="gross energy of the epochs, validation included"),
    _CO2("training_co2_g", "Training CO₂e", group="training",
        formula="training_j x carbon intensity of the country's electricity"),
)
# fmt: on
