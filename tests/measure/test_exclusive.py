"""One measurement at a time."""

import threading

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


def test_a_free_lock_is_taken_without_a_word(tmp_path):
    watcher = Watcher()
    with alone_on_machine(watcher, tmp_path):
        pass
    with alone_on_machine(watcher, tmp_path):
        pass
    assert (watcher.notes, watcher.steps) == ([], [])


def test_a_second_measurement_waits_visibly_for_the_first(tmp_path):
    held, release, order = threading.Event(), threading.Event(), []

    def first():
        with alone_on_machine(Watcher(), tmp_path):
            held.set()
            release.wait(10)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    assert held.wait(10)
    watcher = Watcher(release.set)
    with alone_on_machine(watcher, tmp_path):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert watcher.notes == ["another kdbench is measuring on this machine: waiting for it to finish"]
    assert "waiting for another measurement" in watcher.steps[0]
