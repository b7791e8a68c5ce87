import pytest

from kdbench.distill import tracker as tracker_module
from kdbench.distill.tracker import TrackedModel, Tracker, opened, require_trackers
from kdbench.distill.trackers import TRACKERS
from kdbench.errors import InputError
from kdbench.extras import install
from kdbench.progress import Silent


class Notes(Silent):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


class Fragile(Tracker):
    """Fails at one of its calls."""

    def __init__(self, model, at):
        super().__init__(model)
        self.at, self.calls = at, []

    def _call(self, name):
        self.calls.append(name)
        if name == self.at:
            raise RuntimeError("the server is away\nand much more")

    def begin(self, curve):
        self._call("begin")

    def extend(self, curve):
        self._call("extend")

    def results(self, values):
        self._call("results")

    def close(self, *, complete):
        self._call(f"close {complete}")


class One:
    """A registry of one tracker."""

    def __init__(self, at):
        self.made, self.at = [], at

    def get(self, name):
        def make(model):
            self.made.append(Fragile(model, self.at))
            return self.made[-1]

        return make


def model(folder):
    return TrackedModel("m", "study", folder, "k", {})


@pytest.mark.parametrize("at", ["extend", "results", "close True", ""])
def test_a_tracker_that_fails_is_noted_and_no_reason_to_stop(tmp_path, at):
    progress, registry = Notes(), One(at)
    with opened({"fragile": model(tmp_path)}, registry, progress) as (tracker,):
        tracker.begin([])
        tracker.extend([])
        tracker.extend([])
        tracker.results({})
    calls = ["begin", "extend", "extend", "results", "close True"]
    failing = at == "extend"
    assert registry.made[0].calls == (["begin", "extend"] if failing else calls[: calls.index(at) + 1 if at else 5])
    assert [("m" in note, "the server is away" in note, "much more" in note) for note in progress.notes] == (
        [(True, True, False)] if at else []
    )


def test_a_tracker_that_cannot_begin_is_an_error(tmp_path):
    trackers = opened({"fragile": model(tmp_path)}, One("begin"), Silent())
    with pytest.raises(InputError, match="the server is away") as caught, trackers as (tracker,):
        tracker.begin([])
    assert "'fragile'" in caught.value.hint


def test_an_interruption_is_told(tmp_path):
    registry = One("")
    with pytest.raises(KeyboardInterrupt), opened({"fragile": model(tmp_path)}, registry, Silent()):
        raise KeyboardInterrupt
    assert registry.made[0].calls == ["close False"]


def test_a_tracker_is_named_and_installed_before_anything_trains(monkeypatch):
    with pytest.raises(InputError) as caught:
        require_trackers(["tensorbord"], TRACKERS)
    assert "'tensorboard'" in caught.value.hint
    monkeypatch.setattr(tracker_module, "find_spec", lambda name: None)
    for name in ("tensorboard", "mlflow"):
        with pytest.raises(InputError) as caught:
            require_trackers([name], TRACKERS)
        assert caught.value.hint == install(name)
        assert caught.value.exit_code == 3
    with pytest.raises(InputError) as caught:
        require_trackers(["wandb", "tensorboard"], TRACKERS)
    assert caught.value.hint == install("wandb", "tensorboard")
