"""`kdbench sweep`: a recipe over axes of values and seeds."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdbench.cli import console
from kdbench.cli.commands.run import Overrides, RecipeName, Resume, all_overrides
from kdbench.cli.invocation import Invocation
from kdbench.cli.options import EstimateEnergy, Json, Out, QuietProgress, Texts, Title, counted, option
from kdbench.cli.verdicts import Targets, load_targets, show_results
from kdbench.errors import InputError

if TYPE_CHECKING:
    from kdbench.workflows.searching.outline import SearchOutline
    from kdbench.workflows.sweep import SweepResults
    from kdbench.workflows.sweeping.outline import Outline

_LISTED = 20

Axes = Annotated[
    Texts,
    option(
        "--axis",
        "KEY=V1,V2",
        "Values of a recipe's key; repeatable: all combinations are points. For a search also a range, KEY=1..10.",
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", metavar="N", parser=counted("--seeds", 1000), help="Number of seeds for every model."),
]
SearchBy = Annotated[str | None, option("--search", "OPTIMISER", "The optimiser that chooses the points: optuna.")]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials",
        metavar="N",
        parser=counted("--trials", 5000),
        help="Number of points that a search tries (default: 20).",
    ),
]
SearchGoal = Annotated[
    str | None, option("--goal", "GOAL", "Goal of a search, such as 'max top1 where latency_p50_ns <= 2 ms'.")
]
On = Annotated[
    str,
    option(
        "--on",
        "ENGINE",
        "Where trainings run: local (processes of this machine), a Ray cluster (auto: that of this machine; "
        "HOST:PORT; ray://HOST:PORT), or Slurm jobs (slurm:partition=NAME,time=4h).",
    ),
]
MeasureOn = Annotated[
    str | None,
    option(
        "--measure-on",
        "LABEL",
        "Nodes of the cluster that measure. Ray: a node's label KEY=VALUE, or only VALUE. Slurm: a feature of nodes "
        "or partition=NAME.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, and stop.")]


def sweep(
    ctx: typer.Context,
    recipe: RecipeName,
    axes: Axes = None,
    seeds: Seeds = None,
    search: SearchBy = None,
    trials: Trials = None,
    goal: SearchGoal = None,
    overrides: Overrides = None,
    on: On = "local",
    measure_on: MeasureOn = None,
    out: Out = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    targets: Targets = None,
    estimate_energy: EstimateEnergy = False,
    quiet: QuietProgress = False,
    title: Title = False,
    json: Json = False,
) -> int:
    """Train, measure and report a recipe at every point of a grid of values, with several seeds.

    Keys are those of --set, or those of students such as terms.0.temperature. Trainings run side by side, within memory
    and cores, here or on a cluster; measurements run alone. If a point fails, the others continue; the exit code is
    0 if every point succeeded. With --resume, finished work is kept, and you may add values, axes and seeds. With
    --search, an optimiser chooses the points, for the best score within limits.

    Example: kdbench sweep digits --axis terms.0.temperature=1,4,10 --seeds 3 --out runs/temperature
    """
    from kdbench import extras
    from kdbench.cli.progress import watching
    from kdbench.machine.openmp import configure_openmp
    from kdbench.recipe.loading import load_sweep
    from kdbench.recipe.sweeps.sweep import axes_of
    from kdbench.results.run_folder import require_unused
    from kdbench.workflows.sweeping.needs import extras_of_sweep

    invocation = Invocation.of(ctx)
    invocation.resumable = True
    loaded_targets = load_targets(targets)
    content = all_overrides(overrides, estimate_energy=estimate_energy)
    swept = load_sweep(recipe, axes_of(axes or ()), seeds, content, _searched(search, trials, goal))
    extras.require_all(extras_of_sweep(swept, on), "kdbench sweep")
    require_unused(out, resume=resume)
    with watching(invocation, quiet=quiet, title=title) as progress:
        configure_openmp()  # before torch is loaded
        outline, work = _workflows(is_search=swept.table.search is not None)
        if dry_run:
            _show_outline(outline(swept, out, on=on, measure_on=measure_on, resume=resume), json=json)
            return 0
        options: dict[str, Any] = {"targets": loaded_targets, "progress": progress, "command": invocation.command}
        results = work(swept, out, on=on, measure_on=measure_on, resume=resume, **options)
    code = show_results(results, json=json, more=_counts(results))
    _print_search(results, json=json)
    _print_failures(results, invocation)
    return results.exit_code or code


def _workflows(*, is_search: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the functions that outline and that run a sweep or a search."""
    if is_search:
        from kdbench.workflows.search import outline_search, search_recipe

        return outline_search, search_recipe
    from kdbench.workflows.sweep import outline_sweep, sweep_recipe

    return outline_sweep, sweep_recipe


def _searched(search: str | None, trials: int | None, goal: str | None) -> dict[str, Any]:
    """Return the keys of `[sweep.search]` that options give; raises InputError for an unknown optimiser."""
    if search is not None and search != "optuna":
        raise InputError(f"--search: there is no optimiser {search!r}", "use --search optuna")
    options = {"method": search, "trials": trials, "goal": goal}
    return {key: value for key, value in options.items() if value is not None}


def _show_outline(outline: "Outline | SearchOutline", *, json: bool) -> None:
    if json:
        console.result_json(outline.to_json())
    else:
        console.result("\n".join(outline.lines()))


def _counts(results: "SweepResults") -> dict[str, Any]:
    """Return the counts of points for `--json`."""
    failed = {id_: {"message": fault.message, "hint": fault.hint} for id_, fault in results.failed.items()}
    return {"points": results.points, "completed": results.completed, "failed": failed}


def _print_search(results: "SweepResults", *, json: bool) -> None:
    """Write the result of a search."""
    from kdbench.report.code_spans import without_marks
    from kdbench.report.tables.search import search_sentence

    if not json and (sentence := search_sentence(results.record)):
        console.result(without_marks(sentence))


def _print_failures(results: "SweepResults", invocation: Invocation) -> None:
    """Write which models are missing, and how to try again."""
    if results.completed == results.points:
        return
    console.say(f"error: {results.points - results.completed} of {results.points} points are not complete")
    for id_, fault in list(results.failed.items())[:_LISTED]:
        console.say(f"  {id_}: {fault.message}")
    if len(results.failed) > _LISTED:
        console.say(f"  and {len(results.failed) - _LISTED} more")
    hints = list(dict.fromkeys(fault.hint for fault in results.failed.values() if fault.hint and not fault.internal))
    console.say(f"hint: {'; '.join([*hints[:1], invocation.how_to_resume()])}")
