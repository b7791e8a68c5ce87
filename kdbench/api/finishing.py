"""The last step of a run from Python: raise an error for models that could not run, and log the results."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kdbench.api.results import Results
from kdbench.progress import Progress
from kdbench.report import Content

if TYPE_CHECKING:
    from kdbench.workflows.stages.results import RunResults


def checked_trackers(log: str | Sequence[str], tracked: Sequence[str] = ()) -> list[str]:
    """Return the trackers in `log` without those in `tracked`, which log the results anyway.

    Raises InputError, before anything is measured, for an unknown tracker, and for one whose extra is missing.
    """
    names = [name for name in dict.fromkeys([log] if isinstance(log, str) else log) if name not in tracked]
    if names:
        from kdbench.workflows.stages.log import require_loggers

        require_loggers(names, "log=")
    return names


def final_results(results: "RunResults", loggers: Sequence[str], progress: Progress) -> Results:
    """Return a workflow's results for the API, logged to `loggers`.

    Raises MeasurementError if a model could not be run, and InputError for a tracker that fails.
    """
    results.raise_on_failed_models()
    return logged_results(results, loggers, progress)


def logged_results(results: "RunResults", loggers: Sequence[str], progress: Progress) -> Results:
    """Return a workflow's results for the API, logged to `loggers`; raises InputError for a tracker that fails."""
    if loggers:
        from kdbench.workflows.stages.log import log_results

        log_results(results.record, results.folder, loggers, progress)
    return Results(Content(results.record, results.verdicts, results.samples), results.folder.path)
