"""How many trainings k workers of a Ray cluster do, and what a point costs the driver.

    python -m benchmarks.cluster [--workers 1 2 4 8] [--seconds 5] [--rounds 4] [--points 500]

Trainings sleep, so that the cores of this machine do not limit them; `benchmarks.cluster_trainings` has real ones. All
of a round end at the same moment and start their successors one after the other; the longer a training, the smaller the
share of that. The workers' processes run before the clock starts. The goals are 0.9 of k times the rate of one worker,
and at most 50 ms of the driver for each point. Needs kdbench[cluster].
"""

import argparse
import os
import secrets
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from kdbench.progress import Silent
from kdbench.workflows.sweeping.execution.cluster.engine import Cluster
from kdbench.workflows.sweeping.execution.driver import Driver
from kdbench.workflows.sweeping.execution.schedule import Schedule, Task

GOAL, DRIVER_MS = 0.9, 50.0


def sleep(message, progress):
    """Do as a training that takes its seconds and no core, once as many as `together` have begun."""
    progress.step(1, 2, "asleep")
    wait_for_others(Path(message["folder"]) / "begun", message["together"])
    time.sleep(message["seconds"])


def wait_for_others(folder, together):
    """Return once as many processes as `together` have come here, so that each of them does one of the first tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{os.getpid()}").touch()
    while len(list(folder.iterdir())) < together:
        time.sleep(0.05)


def driven(ray, tasks, seconds, folder):
    """Work tasks off; return the seconds that passed, and those of the driver's CPU."""
    engine = Cluster(ray, tasks, None, "benchmarks.cluster:sleep")
    shutil.rmtree(folder / "begun", ignore_errors=True)
    warm_up = {"folder": str(folder), "seconds": 1.0, "together": engine.slots}
    with engine.open(folder):
        # Each waits for the others, or a worker that starts first would do all of them.
        warm = [Task(f"warm {number}", "train", cpus=tasks[0].cpus) for number in range(engine.slots)]
        Driver(Schedule(warm), engine, lambda _: warm_up, Silent()).run()
        schedule = Schedule(tasks)
        begin, used = time.perf_counter(), time.process_time()
        Driver(schedule, engine, lambda _: {**warm_up, "seconds": seconds}, Silent()).run()
        took_s, used_s = time.perf_counter() - begin, time.process_time() - used
    assert len(schedule.done) == len(tasks), schedule.faults
    return took_s, used_s


@contextmanager
def local_ray(cpus):
    """Start a Ray of this machine alone with as many CPUs; stop it at the end."""
    loopback_alone = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    os.environ.update(loopback_alone | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
    # With a token of its own, Ray neither reads the user's ~/.ray/auth_token nor writes one.
    os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})
    root = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    import ray
    from ray.util import scheduling_strategies  # noqa: F401 - not loaded with ray

    options = {"include_dashboard": False, "log_to_driver": False, "object_store_memory": 80_000_000}
    ray.init(num_cpus=cpus, namespace="kdbench", **options)
    try:
        yield ray
    finally:
        ray.shutdown()


def main(arguments):
    most = max(arguments.workers)
    with tempfile.TemporaryDirectory() as folder, local_ray(most) as ray:
        for workers in arguments.workers:
            tasks = [Task(f"{n}", "train", cpus=most // workers) for n in range(workers * arguments.rounds)]
            took_s, _ = driven(ray, tasks, arguments.seconds, Path(folder))
            rate = len(tasks) * arguments.seconds / took_s
            met = "met" if rate >= GOAL * workers else "MISSED"
            print(
                f"{workers} workers: {rate:.2f} of {workers} times the rate, {rate / workers:.3f} k ({met})", flush=True
            )
        tasks = [Task(f"{n}", "train") for n in range(arguments.points)]
        took_s, used_s = driven(ray, tasks, 0.0, Path(folder))
        each_ms, used_ms = 1e3 * took_s / len(tasks), 1e3 * used_s / len(tasks)
        met = "met" if each_ms <= DRIVER_MS else "MISSED"
        print(f"{len(tasks)} empty points: {each_ms:.1f} ms each, {used_ms:.1f} ms of it the driver's CPU ({met})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--points", type=int, default=500)
    main(parser.parse_args())
