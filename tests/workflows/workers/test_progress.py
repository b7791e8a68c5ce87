"""Progress as messages: seldom enough for a reader, and complete at the end."""

import io
import json

from kdbench.workflows.workers import progress
from kdbench.workflows.workers.progress import MessageProgress


def test_steps_are_rare_and_the_last_one_is_always_written(monkeypatch):
    now_s = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s)
    stream = io.StringIO()
    written = MessageProgress(stream)
    for done in (1, 2, 3):
        written.step(done, 5, f"epoch {done}")
        now_s += 0.3
    written.note("resumed")
    written.waiting("for the lock")
    written.step(5, 5, "epoch 5")
    written.step(5, 5, "evaluated")
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"step": [1, 5, "epoch 1"]},
        {"step": [3, 5, "epoch 3"]},
        {"note": "resumed"},
        {"waiting": "for the lock"},
        {"step": [5, 5, "epoch 5"]},
        {"step": [5, 5, "evaluated"]},
    ]
