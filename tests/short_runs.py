"""Runs without processes of their own and without figures, for tests of what is done with the results."""

import importlib
import json

import pytest

from kdbench.report.figures import FIGURES
from kdbench.worker.channel import Channel
from kdbench.worker.jobs import job_of


def _run_job(job, _folder, progress, *, threads=1):
    """As `kdbench.worker.process.run_job`, on the cores and threads of this process."""
    job = job_of(json.loads(json.dumps(job.to_json())))
    probe = importlib.import_module(f"kdbench.worker.probes.{job.probe}")

    def send(message):
        if "step" in message:
            progress.step(*message["step"])

    return json.loads(json.dumps(probe.run(job, Channel(send))))


def shorten(patch: pytest.MonkeyPatch) -> None:
    """Run probes in this process, cold starts with a short warm-up, estimate sweeps in few steps, and draw no figures.

    Tests of `worker` and `measure` start processes, tests of `report` draw, and `tests/workflows/test_run.py` has a
    whole run with both.
    """
    patch.setattr("kdbench.measure.runner.run_job", _run_job)
    patch.setattr("kdbench.worker.probes.coldstart._WARM_UP_NS", 1_000_000)
    patch.setattr("kdbench.worker.probes.coldstart._STEADY_NS", 1_000_000)
    patch.setattr("kdbench.workflows.sweeping.estimate._PROBE_S", 0.0)  # the fewest steps
    # In place, as others hold the table too; undone in reverse, so that the order comes back.
    for name in reversed(list(FIGURES)):
        patch.delitem(FIGURES, name)


@pytest.fixture
def short_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what the test runs."""
    shorten(monkeypatch)
