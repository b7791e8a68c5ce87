"""What share of a training step a network's convolutions need, and at what rate they run.

    python -m benchmarks.training.rate --threads 2

A step is that of `kdbench run` on labels alone: images of CIFAR-100 are loaded, augmented and normalised, and the
optimizer updates the weights. Its convolutions are measured alone, forward and backward, with equal shapes, precision
and memory format; `share` is their time divided by the step's. Rates are in 10^12 operations per second, two for each
multiply-accumulate of the convolutions: in the step, in its convolutions alone, and in one large convolution, which has
little else to wait for. `of large` is the step's rate divided by the last. Each network has a fresh process. Requires
KDBENCH_DATA and an idle machine.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.command import run_command

NETWORKS = [
    "vgg11_bn", "vgg16_bn", "resnet20", "resnet44", "resnet56", "wrn16-1", "wrn16-8", "mobilenetv2_x0_75",
    "mobilenet_v3_small",
]  # fmt: skip
SECONDS = 0.5  # of calls of one convolution
CHANNELS, SIDE = 256, 16  # of the large convolution


@dataclass(frozen=True)
class Cost:
    """The time of one or more convolutions, forward and backward, and their operations."""

    seconds: float
    operations: float

    @property
    def rate(self) -> float:
        """10¹² operations per second."""
        return self.operations / self.seconds / 1e12


def measured(network: str, batch: int, threads: int, steps: int) -> dict[str, float | str]:
    """Return the milliseconds of a step and of its convolutions, and the rates, from a fresh process."""
    options = ["--one", network, "--batch", str(batch), "--threads", str(threads), "--steps", str(steps)]
    command = [sys.executable, "-m", "benchmarks.training.rate", *options]
    return json.loads(run_command(network, command).stdout.splitlines()[-1])


def measure_here(name: str, batch: int, threads: int, steps: int) -> None:
    """Measure one network in this process, and print what `measured` returns."""
    import torch
    from torch import nn

    from benchmarks.training import ours, workload
    from kdbench.distill.training.allocator import freed_memory_kept
    from kdbench.distill.training.devices import autocast

    work = workload.Workload(teacher=name, student=name, batch=batch, threads=threads, warmup=5, steps=steps)
    with tempfile.TemporaryDirectory() as folder:
        step = ours.measure(work, Path(folder), learns="labels")
    network = workload.student(work, workload.load())
    layout = torch.channels_last if step["channels_last"] else torch.contiguous_format

    def context() -> AbstractContextManager[object]:
        return autocast(torch.device("cpu"), step["precision"])

    with freed_memory_kept():
        costs = [
            convolution_cost(layer, shape, context(), layout, first=number == 0)
            for number, (layer, shape) in enumerate(convolutions(network, (batch, 3, 32, 32)))
        ]
        large = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        reference = convolution_cost(large, (batch, CHANNELS, SIDE, SIDE), context(), layout, first=False)
    together = Cost(sum(cost.seconds for cost in costs), sum(cost.operations for cost in costs))
    whole = Cost(step["step_s"], together.operations)
    row = {
        "precision": step["precision"],
        "step_ms": 1000 * whole.seconds,
        "convolutions_ms": 1000 * together.seconds,
        "rate": whole.rate,
        "convolutions_rate": together.rate,
        "large_rate": reference.rate,
    }
    print(json.dumps(row))


def convolutions(network, shape: tuple[int, ...]) -> list[tuple]:
    """Return the 2-D convolutions of a network and the shapes of their inputs, in the order of execution."""
    import torch
    from torch import nn

    calls: list[tuple] = []
    hooks = [
        layer.register_forward_hook(lambda layer, inputs, _: calls.append((layer, tuple(inputs[0].shape))))
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
    ]
    with torch.no_grad():
        network.eval()(torch.zeros(shape))
    for hook in hooks:
        hook.remove()
    return calls


def convolution_cost(
    layer, shape: tuple[int, ...], context: AbstractContextManager[object], layout, *, first: bool
) -> Cost:
    """Return the median time of a convolution, forward and backward; the `first` has no gradient of its input."""
    import torch

    layer = layer.to(memory_format=layout)
    inputs = torch.randn(shape).contiguous(memory_format=layout)
    with context:
        inputs = inputs.to(torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else inputs.dtype)
        inputs.requires_grad_(not first)
        seconds: list[float] = []
        while sum(seconds) < SECONDS or len(seconds) < 5:
            began = time.perf_counter()
            output = layer(inputs)
            output.backward(gradient=torch.empty_like(output))
            seconds.append(time.perf_counter() - began)
            layer.weight.grad = inputs.grad = None
    macs = output.numel() * layer.weight[0].numel()
    return Cost(statistics.median(seconds[2:]), 2 * macs * (2 if first else 3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--one", metavar="NETWORK", help="measure in this process")
    options = parser.parse_args()
    settings = (options.batch, options.threads, options.steps)
    if options.one:
        measure_here(options.one, *settings)
        return
    rates = ("rate", "convolutions_rate", "large_rate")
    titles = ("step", "alone", "share", "rate", "alone", "large")
    print(
        f"{'network':20} {'':5} {titles[0]:>8} {titles[1]:>8} {' '.join(f'{t:>6}' for t in titles[2:])} {'of large':>9}"
    )
    for network in options.networks:
        row = measured(network, *settings)
        step_ms, alone_ms = row["step_ms"], row["convolutions_ms"]
        times = f"{step_ms:5.0f} ms {alone_ms:5.0f} ms {alone_ms / step_ms:6.2f}"
        of_large = row["rate"] / row["large_rate"]
        columns = " ".join(f"{row[name]:6.3f}" for name in rates)
        print(f"{network:20} {row['precision']:5} {times} {columns} {of_large:9.2f}", flush=True)


if __name__ == "__main__":
    main()
