"""What a pass over a batch on a CPU gains where the process keeps the memory that it frees.

    python -m benchmarks.allocator --rounds 3 --precision 32

Each measurement is a fresh process, because glibc adapts its settings to what a process did before. The two settings
alternate. A row has the median milliseconds of the fastest process with each setting, their ratio, and the ratio of the
largest resident memory. Networks with large feature maps gain most.
"""

import argparse
import json
import resource
import statistics
import sys
import time
from contextlib import nullcontext

from benchmarks.command import run_command

BATCH = 128
SECONDS = 5.0
NETWORKS = ["mobilenetv2_x0_75", "resnet20", "resnet44", "vgg11_bn", "torchvision/mobilenet_v3_small"]
PASSES = ["training", "inference"]
SETTINGS = ["default", "kept"]


def measured(network: str, kind: str, setting: str, precision: str) -> dict[str, float]:
    """Return the median milliseconds of a pass and the largest resident MiB of a fresh process."""
    options = ["--one", network, kind, setting, "--precision", precision]
    command = [sys.executable, "-m", "benchmarks.allocator", *options]
    return json.loads(run_command(f"{network}, {kind}, {setting}", command).stdout)


def measure_here(name: str, kind: str, setting: str, precision: str) -> None:
    """Run the pass for a few seconds in this process, and print what `measured` returns."""
    import torch
    from torch import nn

    from kdbench import models
    from kdbench.distill.training.allocator import freed_memory_kept
    from kdbench.distill.training.devices import autocast, resolved
    from kdbench.recipe import Training

    training = kind == "training"
    network = models.build(name, (3, 32, 32), 100).to(memory_format=torch.channels_last)
    inputs = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 100, (BATCH,))
    settings = Training(device="cpu", batch=BATCH, precision=precision)
    precision = resolved(settings, network, inputs[:1]).precision
    network.train(training)
    seconds: list[float] = []
    with freed_memory_kept() if setting == "kept" else nullcontext():
        while sum(seconds) < SECONDS or len(seconds) < 5:
            began = time.perf_counter()
            with autocast(torch.device("cpu"), precision), torch.set_grad_enabled(training):
                loss = nn.functional.cross_entropy(network(inputs), labels)
            if training:
                loss.backward()
                network.zero_grad()
            seconds.append(time.perf_counter() - began)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"ms": 1000 * statistics.median(seconds[2:]), "mib": resident}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", choices=["auto", "32", "bf16"], default="auto", help="as in a recipe")
    parser.add_argument("--one", nargs=3, metavar=("NETWORK", "PASS", "SETTING"), help="measure in this process")
    options = parser.parse_args()
    if options.one:
        measure_here(*options.one, options.precision)
        return
    print(f"{'network':32} {'pass':10} {'default':>9} {'kept':>9} {'ratio':>6} {'memory':>7}")
    for network in NETWORKS:
        for kind in PASSES:
            results = {setting: [] for setting in SETTINGS}
            for _ in range(options.rounds):
                for setting in SETTINGS:
                    results[setting].append(measured(network, kind, setting, options.precision))
            default, kept = (min(result["ms"] for result in results[setting]) for setting in SETTINGS)
            before, after = (max(result["mib"] for result in results[setting]) for setting in SETTINGS)
            times = f"{default:6.0f} ms {kept:6.0f} ms {default / kept:6.2f} {after / before:7.2f}"
            print(f"{network:32} {kind:10} {times}", flush=True)


if __name__ == "__main__":
    main()
