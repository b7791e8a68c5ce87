"""How training slows down beside other work, by how its threads wait for each other.

    python -m benchmarks.training.waiting --repeats 8      about 6 minutes on two cores

Three processes train the networks of the recipe `digits` with one thread per core: with OpenMP's own settings, with
those that kdbench chooses on an idle machine, and with those that it chooses on a busy one. They take turns, beside
none, one and two busy processes per core. Every process trains from the same seed, and all must end with the same bits.
Linux only.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from benchmarks.training.contestants import ROOT
from benchmarks.trust.options import run_script
from benchmarks.trust.tables.markdown import paragraph, table
from kdbench import units
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.machine.cores import available_cores
from kdbench.machine.openmp import choose_openmp_settings

RESULTS = ROOT / "reports/training_speed/waiting"
WIDTHS = {"teacher": [64, 128, 256], "student": [16, 32, 32]}
PER_CORE = (0, 1, 2)
_BURN = "while True: sum(range(100_000))"
_OPENMP = ("OMP_", "GOMP_", "KMP_")
_CHECKED_STEPS = 20
_HEADS = ["network, setting", "alone, steps/s", "one busy process per core", "two", "share of alone with one", "two"]


def settings(cores: int) -> dict[str, Mapping[str, str]]:
    """Return the environment variables of each setting."""
    idle, busy = (choose_openmp_settings(others, cores, None, loaded=False).variables for others in (0.0, float(cores)))
    return {"OpenMP's own": {}, "kdbench, idle at the start": idle, "kdbench, busy at the start": busy}


def train(name: str, threads: int) -> None:
    """Train a network of the recipe; print a hash of its weights, then steps per second for each line of seconds."""
    import torch
    from torch import nn

    from kdbench import models

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = models.build("convnet", (1, 8, 8), 10, widths=WIDTHS[name]).to(memory_format=torch.channels_last)
    inputs, labels = torch.randn(64, 1, 8, 8), torch.randint(0, 10, (64,))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()

    for _ in range(_CHECKED_STEPS):
        step()
    weights = b"".join(parameter.detach().contiguous().numpy().tobytes() for parameter in network.parameters())
    print(hashlib.sha256(weights).hexdigest(), flush=True)
    for line in sys.stdin:
        began, steps = time.perf_counter(), 0
        while time.perf_counter() - began < float(line):
            step()
            steps += 1
        print(steps / (time.perf_counter() - began), flush=True)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep `count` processes busy while the block runs."""
    burning = [subprocess.Popen([sys.executable, "-c", _BURN]) for _ in range(count)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def measure(name: str, repeats: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    """Return the steps per second of a network, by setting and by busy processes per core, one for each repeat."""
    cores = len(available_cores())
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(_OPENMP)}
    command = [sys.executable, "-m", "benchmarks.training.waiting", "--train", name, "--threads", str(cores)]
    with ExitStack() as stack:
        processes = {}
        for setting, variables in settings(cores).items():
            options = {"cwd": ROOT, "env": {**inherited, **variables}, "text": True}
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)
            processes[setting] = stack.enter_context(process)
        if len({process.stdout.readline() for process in processes.values()}) != 1:
            raise InputError(f"{name}: the settings lead to different weights", "report it: they must not")
        rates = {setting: {str(count): [] for count in PER_CORE} for setting in processes}
        for _ in range(repeats):
            for count in PER_CORE:
                with busy(count * cores):
                    for setting in random.sample(list(processes), len(processes)):
                        process = processes[setting]
                        process.stdin.write(f"{seconds}\n")
                        process.stdin.flush()
                        rates[setting][str(count)].append(float(process.stdout.readline()))
        for process in processes.values():
            process.stdin.close()
    return rates


def rows(rates: Mapping[str, Mapping[str, Mapping[str, list[float]]]]) -> Iterator[list[str]]:
    """Yield a row of each network and setting: steps per second, and shares of the same repeats' speed alone."""
    for name, of_network in rates.items():
        for setting, by_load in of_network.items():
            medians = [units.significant(float(np.median(by_load[str(count)])), 3) for count in PER_CORE]
            shares = [_share(by_load[str(count)], by_load["0"]) for count in PER_CORE[1:]]
            yield [f"{name}, {setting}", *medians, *shares]


def _share(loaded: list[float], alone: list[float]) -> str:
    ratios = sorted(slow / fast for slow, fast in zip(loaded, alone, strict=True))
    middle = float(np.median(ratios))
    return f"{middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def write(folder: Path) -> None:
    """Write the page from the stored figures."""
    stored = storage.read_json(folder / "rates.json", "rates")
    about = f"`python -m benchmarks.training.waiting --repeats {stored['repeats']}`; {stored['cores']} cores"
    how = f"{about}. Medians of the repeats, whose range is in parentheses; all settings end with the same weights."
    page = f"# Training beside other work\n\n{paragraph(how)}\n\n{table(_HEADS, [*rows(stored['rates'])])}\n"
    storage.write_text(folder / "README.md", page)


def main() -> None:
    """Measure both networks and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=8, metavar="N", help="%(default)d")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="S", help="of each timing, %(default)g")
    parser.add_argument("--networks", nargs="+", choices=WIDTHS, default=list(WIDTHS), help="both")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the page's folder")
    parser.add_argument("--train", choices=WIDTHS, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(args.train, args.threads)
        return
    file = storage.make_folder(args.results) / "rates.json"
    earlier = json.loads(file.read_text())["rates"] if file.exists() else {}
    rates = {name: measure(name, args.repeats, args.seconds) for name in args.networks}
    stored = {"repeats": args.repeats, "cores": len(available_cores()), "rates": {**earlier, **rates}}
    storage.write_json(file, stored)
    write(args.results)


if __name__ == "__main__":
    run_script(main)
