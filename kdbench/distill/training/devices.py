"""Where a training runs: device, number of processes, number format and compiler.

The rules for "auto" depend on the device and the network, never on timings: a recipe repeats on the same machine.
"""

import logging
import statistics
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from kdbench.distill.training.processes import environment
from kdbench.errors import InputError
from kdbench.machine.cores import available_cores
from kdbench.models.features.modes import evaluation_mode
from kdbench.recipe import Training
from kdbench.registry import suggestion

if TYPE_CHECKING:  # as in kdbench.distill.training.processes
    from lightning_fabric import Fabric

_PRECISION: dict[str, Any] = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}  # as Fabric names them

# The number of parameters from which bf16 is faster; in a smaller network the casts cost as much as products save.
MIN_SIZE_FOR_BF16 = 100_000
# On a CPU, the number of values in the output of a median depthwise convolution from which bf16 is faster
# (benchmarks/bench_precision.py). Below, the bf16 kernels of depthwise convolutions take several times as long.
MIN_VALUES_FOR_DEPTHWISE_BF16 = 1_100_000


def device_of(training: Training) -> torch.device:
    """Return the device of a training; raises InputError if the recipe requires CUDA and there is none."""
    sees_gpu = training.device != "cpu" and _cached(torch.cuda.is_available)
    if training.device == "cuda" and not sees_gpu:
        raise InputError("training.device is cuda, but PyTorch sees no GPU", 'use device = "auto" or "cpu"')
    return torch.device("cuda" if sees_gpu else "cpu")


@cache
def _cached(question: Callable[[], bool]) -> bool:
    """Return a function's result, which does not change, and which a sweep needs for each of its points."""
    return question()


def resolved(training: Training, network: nn.Module, sample: Tensor) -> Training:
    """Return `training` with a choice for each "auto" that its arithmetic depends on.

    bf16 if the device supports it in hardware and the network gains at this batch size; channels_last for convolutions.
    Never compiled: steps became no faster on the CPUs of reports/training_speed and on an H100 (VGG-11 at batch 128, a
    small convnet at 64), while the first epoch took 7 to 80 s longer. `sample` is a normalised input (1, …).
    """
    choices: dict[str, Callable[[], Any]] = {
        "precision": lambda: "bf16" if _gains_from_bf16(training, network, sample) else "32",
        "channels_last": lambda: _has(network, nn.Conv2d) and not _has(network, nn.Conv3d),  # of images, not volumes
        "compile": lambda: False,
    }
    automatic = {key: choose() for key, choose in choices.items() if getattr(training, key) == "auto"}
    return training.model_copy(update=automatic)


def _gains_from_bf16(training: Training, network: nn.Module, sample: Tensor) -> bool:
    device = device_of(training)
    if not computes_bf16(device) or sum(parameter.numel() for parameter in network.parameters()) < MIN_SIZE_FOR_BF16:
        return False
    if device.type != "cpu":
        return True
    values = _depthwise_values(network, sample)
    batch = training.batch // processes_of(training)
    return not values or batch * statistics.median(values) >= MIN_VALUES_FOR_DEPTHWISE_BF16


def _depthwise_values(network: nn.Module, sample: Tensor) -> list[int]:
    """Return the number of output values of each depthwise convolution of images, for one sample."""
    values: list[int] = []
    depthwise = [module for module in network.modules() if _is_depthwise(module)]
    if not depthwise:
        return values
    hooks = [module.register_forward_hook(lambda *call: values.append(call[2].numel())) for module in depthwise]
    try:
        with torch.no_grad(), evaluation_mode(network):
            network(sample.to(next(network.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return values


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def _has(network: nn.Module, kind: type[nn.Module]) -> bool:
    return any(isinstance(module, kind) for module in network.modules())


def evaluation_batch(device: torch.device, batch: int) -> int:
    """Return the batch size for passes without gradients: large on a GPU; on a CPU large blocks of memory cost more."""
    return max(batch, 512) if device.type == "cuda" else min(max(batch, 64), 128)


@contextmanager
def compute_threads(count: int | None) -> Iterator[None]:
    """Compute with `count` threads while the block runs, or as many as there are cores; None leaves the number alone.

    More threads than cores wait for each other, which can be a hundred times slower.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(min(count, len(available_cores())) if count else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def computes_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 in hardware: a CPU that only emulates it is slower with it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    cpu: Any = torch.cpu
    return bool(cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported())  # noqa: SLF001 - none is public


def autocast(device: torch.device, precision: str) -> AbstractContextManager[None]:
    """Return the context in which a network is run in `precision`, as Fabric does in training."""
    if precision == "32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


# Fabric has more: some start processes, which kdbench does itself; others split a network, which leaves no complete
# weights to save.
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
    """Return the name of Fabric's strategy.

    "auto" permits parameters without a gradient in a step, such as a student's last layers while only a hint is active.
    Finding them takes little time compared with the step.
    """
    if processes_of(training) == 1:
        return "auto"  # one process, with any strategy
    return "ddp_find_unused_parameters_true" if training.strategy == "auto" else training.strategy


def check_devices(training: Training, started: int) -> None:
    """Raise InputError for a training that cannot run on this machine or in the `started` processes."""
    device = device_of(training).type
    devices, needed = devices_of(training), processes_of(training)
    if training.strategy not in STRATEGIES:
        known = "known: " + ", ".join(STRATEGIES)
        message = f"training.strategy {training.strategy!r} is not one that kdbench can train with"
        raise InputError(message, suggestion(training.strategy, list(STRATEGIES), known))
    if devices < 1:
        raise InputError(f"training.devices is {devices}", 'give a number from 1, or "auto" for all GPUs')
    available, unit = (torch.cuda.device_count(), "GPU") if device == "cuda" else (len(available_cores()), "CPU core")
    if devices > available:
        message = f"training.devices is {devices}, and this machine has {available} {unit}{'s' * (available != 1)}"
        raise InputError(message, f"set training.devices = {available}")
    if started > 1 and started != needed:
        message = f"{started} processes were started together, but training.devices × num_nodes is {needed}"
        raise InputError(message, "start as many as every training of the recipe needs")
    if started > 1 and (cluster := environment()) is not None:
        try:
            cluster.validate_settings(devices, training.num_nodes)
        except ValueError as error:
            reason = str(error).partition(" HINT")[0]  # why Fabric rejects the distribution over the nodes
            raise InputError(reason, "start one process for each device of each node") from error
    if started == 1 and training.num_nodes > 1:
        message = f"training.num_nodes is {training.num_nodes}, and kdbench was not started on the other nodes"
        raise InputError(message, "start `kdbench train` on every node with torchrun or srun; see docs/recipes.md")
    if needed > 1 and training.batch < 2 * needed:
        few = f"fewer than two samples for each of {needed} devices"
        hint = "the batch is split over all devices: choose a larger batch, or fewer devices"
        raise InputError(f"training.batch is {training.batch}, which leaves {few}", hint)
    if training.compile is True and (missing := missing_compiler(device)):
        raise InputError(f"training.compile is true, but torch.compile lacks {missing}", "set training.compile = false")


def missing_compiler(device: str) -> str | None:
    """Return what torch.compile lacks to generate code for "cuda" or "cpu"; None if it lacks nothing."""
    # Use torch's searches, to look in the same places; none is public.
    if device == "cuda":
        from torch.utils._triton import has_triton

        return None if has_triton() else "Triton, and a GPU that it supports"
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "a C++ compiler"
    return None


def compile_forward(network: nn.Module) -> nn.Module:
    """Return `network` with a forward that is compiled at its first call; weights and mode are shared with `network`.

    Every batch size gets separate code (static shapes). With dynamic shapes, the first smaller batch would change the
    code for all later batches, and an epoch repeated after an interruption could end with other bits.
    """
    # Code generated for earlier networks of the same class counts towards torch's limit, beyond which it gives up.
    torch.compiler.reset()
    return cast("nn.Module", torch.compile(network, dynamic=False))


def launched_fabric(training: Training) -> "Fabric":
    """Return Fabric on the devices of `training`, in the process group that this process belongs to."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    class WithoutCallbacks(Fabric):
        """Fabric would read the entry points of all installed packages for callbacks at the start of every training."""

        @staticmethod
        def _configure_callbacks(*_: Any, **__: Any) -> list[Any]:  # not public: a Fabric without it ignores this
            return []

    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)  # it announces its precision and its processes
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning_fabric\..*")
        fabric = WithoutCallbacks(
            accelerator="gpu" if device_of(training).type == "cuda" else "cpu",
            devices=devices_of(training),
            num_nodes=training.num_nodes,
            strategy=strategy_of(training),
            precision=_PRECISION[training.precision],
            # Named, because Fabric would otherwise guess processes from a batch script's variables.
            plugins=[environment() or LightningEnvironment()],
        )
        fabric.launch()
    assert fabric.world_size == processes_of(training), (fabric.world_size, processes_of(training))
    return fabric
