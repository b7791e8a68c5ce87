"""On how many devices a training runs, and whether this machine has them."""

import torch

from kdbench.distill.compiling import check_compiler
from kdbench.distill.placement import device_of
from kdbench.distill.processes import environment, world_size
from kdbench.errors import InputError
from kdbench.machine.cores import available_cores
from kdbench.recipe import Training
from kdbench.registry import suggestion

# Lightning knows more: those that start processes by themselves, which is done elsewhere here, and those that cut one
# network into pieces, of which there would be no whole weights to keep.
STRATEGIES = ("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true")


def devices_of(training: Training) -> int:
    """Return how many devices of each node a training runs on, with one process to each; "auto" is all GPUs."""
    if training.devices != "auto":
        return training.devices
    return torch.cuda.device_count() if device_of(training).type == "cuda" else 1


def processes_of(training: Training) -> int:
    """Return how many processes a training needs on all nodes together."""
    return devices_of(training) * training.num_nodes


def strategy_of(training: Training) -> str:
    """Return the name of Lightning's strategy.

    "auto" allows for parameters that a step leaves without a gradient, such as a student's last layers while a hint is
    all that counts; to look for them at every step costs little beside the step.
    """
    if processes_of(training) == 1:
        return "auto"  # nothing to be spread, whatever the strategy
    return "ddp_find_unused_parameters_true" if training.strategy == "auto" else training.strategy


def check_devices(training: Training) -> None:
    """Raise InputError for a training that cannot run on this machine as it stands."""
    device = device_of(training).type
    devices, wanted, there = devices_of(training), processes_of(training), world_size()
    if training.strategy not in STRATEGIES:
        known = "known: " + ", ".join(STRATEGIES)
        raise InputError(
            f"training.strategy {training.strategy!r} is none that kdbench can train with",
            suggestion(training.strategy, list(STRATEGIES), known),
        )
    if devices < 1:
        raise InputError(f"training.devices is {devices}", 'give a number from 1, or "auto" for all GPUs')
    if devices > (available := _available(device)):
        name = "GPU" if device == "cuda" else "CPU core"
        raise InputError(
            f"training.devices is {devices}, and this machine has {available} {name}{'' if available == 1 else 's'}",
            f"set training.devices = {available}",
        )
    if there > 1 and there != wanted:
        raise InputError(
            f"{there} processes were started together, and training.devices × num_nodes is {wanted}",
            "start as many as every training of the recipe asks for",
        )
    if there > 1 and (mismatch := _mismatch(devices, training.num_nodes)):
        raise InputError(mismatch, "start one process for each device of each node")
    if there == 1 and training.num_nodes > 1:
        raise InputError(
            f"training.num_nodes is {training.num_nodes}, and nobody started kdbench on the other nodes",
            "start `kdbench train` on every node with torchrun or srun; see docs/recipes.md",
        )
    if wanted > 1 and training.batch < 2 * wanted:
        raise InputError(
            f"training.batch is {training.batch}, which leaves less than two samples to each of {wanted} devices",
            "the batch is that of all devices together: choose a larger one, or fewer devices",
        )
    if training.compile is True:
        check_compiler(device)


def _mismatch(devices: int, nodes: int) -> str | None:
    """Return what Lightning has against the way in which the processes are spread over the nodes."""
    found = environment()
    assert found is not None, "somebody started them"
    try:
        found.validate_settings(devices, nodes)
    except ValueError as error:
        return str(error).partition(" HINT")[0]
    return None


def _available(device: str) -> int:
    if device == "cuda":
        return torch.cuda.device_count()
    return len(available_cores())
