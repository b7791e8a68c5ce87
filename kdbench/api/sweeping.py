"""`sweep`: a study over axes of values and seeds, or searched by an optimiser, from Python."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench import extras
from kdbench.api.finishing import checked_trackers, logged_results
from kdbench.api.progress import progress_display
from kdbench.api.results import Results
from kdbench.api.study import Recipes, Study
from kdbench.judge.target import Target
from kdbench.machine.openmp import configure_openmp
from kdbench.progress import Progress
from kdbench.recipe.loading import load_sweep
from kdbench.user_input.arguments import checked
from kdbench.workflows.sweeping.needs import extras_of_sweep


@dataclass(frozen=True, eq=False, repr=False)
class SweepResults(Results):
    """The results of a sweep: those of all its points as one run.

    `points` is the number of points, `completed` the number of those with all their models. `failed` maps each missing
    model to the reason.

        >>> axes = {"terms.0.temperature": [1, 4]}
        >>> sweep = kdbench.sweep("study.toml", "runs/t", axes=axes, on="inline", resume=True)
        >>> sweep.points, sweep.completed, sweep.failed
        (2, 2, {})
    """

    points: int
    completed: int
    failed: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<kdbench.SweepResults: {self.completed} of {self.points} points completed, in {str(self.folder)!r}>"


@checked
def sweep(
    recipe: Recipes = "digits",
    out: str | Path | None = None,
    *,
    axes: Mapping[str, Sequence[Any] | Mapping[str, Any]] | None = None,
    seeds: int | None = None,
    goal: str | None = None,
    trials: int | None = None,
    on: str = "local",
    measure_on: str | None = None,
    resume: bool = False,
    targets: Sequence[Target | str | Path] = (),
    log: str | Sequence[str] = (),
    progress: Progress | None = None,
    command: str = "",
) -> SweepResults:
    """Train, measure and report a study at every point of `axes`; return the results. It needs the extra `train`.

        >>> axes = {"terms.0.temperature": [1, 4]}
        >>> sweep = kdbench.sweep("study.toml", "runs/t", axes=axes, on="inline", resume=True)
        >>> len(sweep.models)
        3

    `axes` maps keys to lists of values, in addition to the recipe's `[sweep]` table. `seeds` is the number of seeds
    that every model is trained with. With a `goal`, such as "max top1 where latency_p50_ns <= 2 ms", an optimiser
    chooses the points, as many as `trials`; an axis may then be a range, {"low": 1.0, "high": 10} (extra `search`).
    `on` is where trainings run: "local", "inline" (in this process), or a cluster, whose nodes with the label
    `measure_on` measure. The other arguments are those of `run`. If a point fails, the others continue, and `failed`
    has the reason. Raises KdbenchError before anything starts if the sweep cannot run, and at the end if no model
    completed.
    """
    searched = {key: value for key, value in {"goal": goal, "trials": trials}.items() if value is not None}
    swept = load_sweep(recipe.content if isinstance(recipe, Study) else recipe, axes, seeds, search=searched)
    extras.require_all(extras_of_sweep(swept, on), "kdbench.sweep")
    loggers = checked_trackers(log, swept.recipe.track)
    configure_openmp()  # before torch is loaded, which then reads how its threads are to wait
    if swept.table.search is not None:
        from kdbench.workflows.search import search_recipe as work
    else:
        from kdbench.workflows.sweep import sweep_recipe as work
    options: dict[str, Any] = {"measure_on": measure_on, "resume": resume, "targets": targets, "command": command}
    with progress_display(progress) as display:
        results = work(swept, out, on=on, progress=display, **options)
        base = logged_results(results, loggers, display)
    failed = {id_: fault.message for id_, fault in results.failed.items()}
    return SweepResults(base.content, base.folder, results.points, results.completed, failed)
