"""One measurement at a time."""

import threading

import pytest

from kdbench.measure.exclusive import alone_on_machine


class Watcher:
    """Lets go of what the lock waits for as soon as the wait is told."""

    def __init__(self, release=lambda: None):
        self.notes, self.steps, self._release = [], [], release

    def note(self, text):
        self.notes.append(text)

    def step(self, done, total, detail=""):
        self.steps.append(detail)
        self._release()


@pytest.fixture(autouse=True)
def _machine(tmp_path, monkeypatch):
    monkeypatch.setenv("KDBENCH_LOCK_DIR", str(tmp_path))


def test_a_free_lock_is_taken_without_a_word():
    watcher = Watcher()
    with alone_on_machine(watcher):
        pass
    with alone_on_machine(watcher):
        pass
    assert (watcher.notes, watcher.steps) == ([], [])


def test_a_second_measurement_waits_visibly_for_the_first():
    held, release, order = threading.Event(), threading.Event(), []

    def first():
        with alone_on_machine(Watcher()):
            held.set()
            release.wait(10)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert held.wait(10)
    watcher = Watcher(release.set)
    with alone_on_machine(watcher):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert watcher.notes == ["another kdbench is measuring on this machine: waiting for it to finish"]
    assert "waiting for another measurement" in watcher.steps[0]
