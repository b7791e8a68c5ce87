"""How many real trainings k workers of a Ray cluster do on the cores of this machine.

    python -m benchmarks.cluster_trainings [--workers 1 2] [--rounds 4] [--trainings 6] [--epochs 50]

In each round k workers do equal trainings, and k bare PyTorch loops take the same steps, for one k after the other. The
loops show how many times the work of one the cores can do: other virtual machines take time from them, and processes
share their caches. Each worker has trained once before the clock starts: a new one loads libraries for ten seconds. The
last lines are medians over the rounds. The goal is 0.9 of what the loops reach. Run it on an idle machine. Needs
kdbench[cluster].
"""

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.cluster import GOAL, local_ray, wait_for_others
from kdbench.progress import Silent
from kdbench.recipe.loading import load_sweep
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.sweeping.execution.cluster.engine import Cluster
from kdbench.workflows.sweeping.execution.driver import Driver
from kdbench.workflows.sweeping.execution.schedule import Schedule
from kdbench.workflows.sweeping.opening import planned_sweep
from kdbench.workflows.sweeping.sweep_tasks import SweepTasks, tasks_of
from kdbench.workflows.sweeping.tasks import perform

BATCH, HIDDEN = 32, [256, 256]
LOOP_S, WARM_UP_STEPS = 20.0, 200
NETWORK = {"name": "dense", "hidden": HIDDEN}
RECIPE = {
    "name": "rate",
    "data": {"name": "digits", "validation": 0.2},
    "training": {"batch": BATCH, "threads": 1},
    "measure": {"times": False, "energy": "off"},
    "teacher": [{"name": "teacher", "model": NETWORK}],
    "student": [{"name": "alone", "model": NETWORK}],
}


@contextmanager
def planned_trainings(count, cpus, epochs, folder):
    """Plan as many equal trainings, which take `cpus` each, into the folder."""
    axes = {"student.alone.training.optimizer.lr": [0.001 * step for step in range(1, count)]}
    swept = load_sweep({**RECIPE, "training": {**RECIPE["training"], "epochs": epochs}}, axes)
    with planned_sweep(swept, None, on="inline", measure_on=None, resume=False) as (planned, _):
        tasks = [replace(task, cpus=cpus) for task in tasks_of(planned) if task.kind == "train"]
        assert len(tasks) == count
        yield SweepTasks(planned, RunFolder(folder), "", metered=False, schedule=Schedule(tasks))


def train_and_wait(message, progress):
    """Train, then wait until as many processes as `together` have trained."""
    perform(message, progress)
    wait_for_others(Path(message["folder"]) / "begun", message["together"])


def run_all(ray, trainings, function=None, **more):
    """Do trainings with that function on Ray, its messages with `more`."""

    def prepare(task):
        return {**trainings.prepare(task), **more}

    engine = Cluster(ray, list(trainings.schedule.tasks.values()), None, function)
    with engine.open(trainings.folder.path):
        begin = time.perf_counter()
        Driver(trainings.schedule, engine, prepare, Silent()).run()
        took_s = time.perf_counter() - begin
    assert len(trainings.schedule.done) == len(trainings.schedule.tasks), trainings.schedule.faults
    return took_s


def trainings_per_s(ray, workers, cpus, arguments, folder):
    """Return how many trainings a second as many workers do, once each has trained."""
    with planned_trainings(workers + 1, cpus, 1, folder / "first") as first:
        run_all(ray, first, "benchmarks.cluster_trainings:train_and_wait", together=workers)
    count = arguments.trainings * workers
    with planned_trainings(count, cpus, arguments.epochs, folder / "timed") as timed:
        return count / run_all(ray, timed)


def bare_loop():
    """Print a line when ready; after a line of the input, train for LOOP_S and print the steps per second."""
    import torch

    torch.set_num_threads(1)
    sizes = [64, *HIDDEN, 10]
    layers = [layer for pair in itertools.pairwise(sizes) for layer in (torch.nn.Linear(*pair), torch.nn.ReLU())]
    network = torch.nn.Sequential(*layers[:-1])
    inputs, labels = torch.randn(BATCH, 64), torch.randint(0, 10, (BATCH,))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()

    for _ in range(WARM_UP_STEPS):
        step()
    print("ready", flush=True)
    input()
    steps, begin = 0, time.perf_counter()
    while (took_s := time.perf_counter() - begin) < LOOP_S:
        step()
        steps += 1
    print(steps / took_s)


def steps_per_s(workers):
    """Return the steps per second of as many bare loops side by side."""
    command = [sys.executable, "-m", "benchmarks.cluster_trainings", "--bare-loop"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    loops = [subprocess.Popen(command, **pipes) for _ in range(workers)]
    for loop in loops:
        loop.stdout.readline()
    for loop in loops:
        loop.stdin.write("\n")
        loop.stdin.flush()
    return sum(float(loop.communicate()[0]) for loop in loops)


def main(arguments):
    """Compare workers and loops in alternation; print each round, then the medians."""
    fewest, most = min(arguments.workers), max(arguments.workers)
    ratios = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, local_ray(most) as ray:
        for number in range(arguments.rounds):
            of_workers, of_loops = {}, {}
            for workers in arguments.workers:
                into = Path(folder) / f"{number}-{workers}"
                of_workers[workers] = trainings_per_s(ray, workers, most // workers, arguments, into)
                of_loops[workers] = steps_per_s(workers)
            for workers in set(arguments.workers) - {fewest}:
                pair = of_workers[workers] / of_workers[fewest], of_loops[workers] / of_loops[fewest]
                ratios[workers].append(pair)
                text = f"{pair[0]:.2f} times the trainings of {fewest}, the bare loops {pair[1]:.2f} times the steps"
                print(f"round {number + 1}, {workers} workers: {text}", flush=True)
    for workers, pairs in sorted(ratios.items()):
        reached, possible = (statistics.median(column) for column in zip(*pairs, strict=True))
        met = "met" if reached >= GOAL * possible else "MISSED"
        text = f"{reached:.2f} times the rate of {fewest}, where bare loops reach {possible:.2f}"
        print(f"{workers} workers: {text}: {reached / possible:.2f} of it ({met})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--trainings", type=int, default=6, help="of each worker in a round, two or more")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--bare-loop", action="store_true", help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.bare_loop:
        bare_loop()
    else:
        main(parsed)
