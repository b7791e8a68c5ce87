"""The interface of an experiment tracker, which logs the curve and the results of each model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from kdbench.errors import InputError, KdbenchError, first_line
from kdbench.extras import install
from kdbench.progress import Progress
from kdbench.registry import Registry
from kdbench.results.cards import Epoch

Parameter = str | int | float | bool


@dataclass(frozen=True)
class TrackedModel:
    """A model to track: its `id`, the name of its `study`, and the recipe's values for it by dotted key.

    `folder` is the tracker's folder within the run's; `key` is a hash of everything the training depends on.
    """

    id: str
    study: str
    folder: Path
    key: str
    parameters: Mapping[str, Parameter]


class Tracker(ABC):
    """Logs one model; a `CurveLog`. Continues the log of a model that was tracked before with the same key.

    `modules` are those that it imports when it begins, and `extra` is kdbench's extra that installs them. Methods may
    raise anything: kdbench reports it, and the training continues.
    """

    modules: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    def __init__(self, model: TrackedModel) -> None:
        self.model = model

    @abstractmethod
    def begin(self, curve: Sequence[Epoch]) -> None:
        """Log the parameters, and those epochs of `curve` that are missing. Called first, and once."""

    @abstractmethod
    def extend(self, curve: Sequence[Epoch]) -> None:
        """Log the last epoch of `curve`."""

    @abstractmethod
    def results(self, values: Mapping[str, float]) -> None:
        """Log measured values by name, such as "top1", after the training."""

    @abstractmethod
    def close(self, *, complete: bool) -> None:
        """End the log, whether it began or not; `complete` is false if the training was interrupted."""


def require_trackers(names: Sequence[str], trackers: Registry[type[Tracker]], place: str = "track = ") -> None:
    """Raise InputError for an unknown name, and for a tracker whose extra is not installed.

    `place` is the text before the name in the user's recipe or command.
    """
    known = {name: trackers.get(name) for name in names}
    absent = {
        name: missing[0]
        for name, tracker in known.items()
        if (missing := [module for module in tracker.modules if find_spec(module) is None])
    }
    if not absent:
        return
    extras = [extra for name in absent if (extra := known[name].extra)]
    hints = [install(*extras)] if extras else []
    hints += [f"install {module}" for name, module in absent.items() if not known[name].extra]
    needed = ", ".join(f"{place}{name!r} needs {module}" for name, module in absent.items())
    raise InputError(f"{needed}, which {'is' if len(absent) == 1 else 'are'} not installed", "; ".join(hints))


@dataclass(eq=False)
class GuardedTracker:
    """A tracker whose failure is reported and ends the tracking, not the training; a failure of `begin` is an error."""

    name: str
    tracker: Tracker
    progress: Progress
    problem: str = ""

    @property
    def failed(self) -> bool:
        """Whether the tracker failed, for the reason in `problem`."""
        return bool(self.problem)

    def begin(self, curve: Sequence[Epoch]) -> None:
        """Begin; raises InputError if the tracker fails."""
        try:
            self.tracker.begin(curve)
        except KdbenchError:
            raise
        except Exception as error:  # a tracker may raise anything
            hint = f"check its settings, or leave {self.name!r} out"
            raise InputError(f"the tracker {self.name} cannot start: {first_line(error)}", hint) from error

    def extend(self, curve: Sequence[Epoch]) -> None:
        """Log the last epoch."""
        self._guard(lambda: self.tracker.extend(curve))

    def results(self, values: Mapping[str, float]) -> None:
        """Log measured values."""
        self._guard(lambda: self.tracker.results(values))

    def close(self, *, complete: bool) -> None:
        """End the log."""
        self._guard(lambda: self.tracker.close(complete=complete))

    def _guard(self, work: Callable[[], None]) -> None:
        if self.failed:
            return
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a tracker may raise anything
            self.problem = first_line(error)
            model = self.tracker.model.id
            self.progress.note(f"{self.name} failed and no longer tracks {model}: {self.problem}")


@contextmanager
def opened(
    models: Mapping[str, TrackedModel], trackers: Registry[type[Tracker]], progress: Progress
) -> Iterator[list[GuardedTracker]]:
    """Yield a tracker for each name in `models`, which has the model as that tracker logs it; close them at the end."""
    with ExitStack() as stack:
        guarded = [GuardedTracker(name, trackers.get(name)(model), progress) for name, model in models.items()]

        def close(kind: type[BaseException] | None, *_: object) -> bool:
            for tracker in guarded:
                tracker.close(complete=kind is None)
            return False

        stack.push(close)
        yield guarded
