"""`kdbench run` and `kdbench train`: from a recipe to a report, or to trained models."""

from typing import Annotated

import typer

from kdbench.cli import console
from kdbench.cli.invocation import Invocation
from kdbench.cli.options import (
    EstimateEnergy,
    Json,
    Log,
    Out,
    QuietProgress,
    Texts,
    Title,
    option,
    recipe_names,
    several_names,
)
from kdbench.cli.verdicts import Targets, load_targets, show_results

RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A shipped recipe's name or the path of a .toml file.", autocompletion=recipe_names
    ),
]
Overrides = Annotated[Texts, option("--set", "KEY=VALUE", "Override a key of the recipe; repeatable.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from what the folder already holds.")]


def all_overrides(overrides: list[str] | None, *, estimate_energy: bool) -> list[str]:
    """Return the overrides of the recipe; overrides from options such as `--estimate-energy` come last."""
    return [*(overrides or ()), *(["measure.estimate_energy=true"] if estimate_energy else [])]


def run(
    ctx: typer.Context,
    recipe: RecipeName = "digits",
    overrides: Overrides = None,
    out: Out = None,
    resume: Resume = False,
    targets: Targets = None,
    log: Log = None,
    estimate_energy: EstimateEnergy = False,
    quiet: QuietProgress = False,
    title: Title = False,
    json: Json = False,
) -> int:
    """Train, distil, export, measure and report: the whole recipe.

    With --target the exit code is the verdict's, as for `kdbench ready`. With --json the result is the content of
    record.json with the additional keys "folder" and, with --target, "verdicts".

    Example: kdbench run digits --set training.epochs=5 --out runs/first
    """
    from kdbench import extras
    from kdbench.cli.progress import watching
    from kdbench.machine.openmp import configure_openmp
    from kdbench.recipe.extras import extras_of
    from kdbench.recipe.loading import load_recipe
    from kdbench.results.run_folder import require_unused

    invocation = Invocation.of(ctx)
    invocation.resumable = True
    loaded_targets = load_targets(targets)
    loaded = load_recipe(recipe, all_overrides(overrides, estimate_energy=estimate_energy))
    extras.require_all(extras_of(loaded), "kdbench run")
    trackers = [name for name in several_names("--log", log) if name not in loaded.track]  # those log anyway
    if trackers:
        from kdbench.workflows.stages.log import require_loggers

        require_loggers(trackers)
    require_unused(out, resume=resume)
    with watching(invocation, quiet=quiet, title=title) as progress:
        configure_openmp()  # before torch is loaded
        from kdbench.workflows.run import run_recipe

        results = run_recipe(
            loaded, out, resume=resume, targets=loaded_targets, progress=progress, command=invocation.command
        )
        results.raise_on_failed_models()
        if trackers:
            from kdbench.workflows.stages.log import log_results

            log_results(results.record, results.folder, trackers, progress)
    return show_results(results, json=json)


def train(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    resume: Resume = False,
    estimate_energy: EstimateEnergy = False,
    quiet: QuietProgress = False,
    title: Title = False,
    json: Json = False,
) -> None:
    """Train a recipe's teachers and students, and stop there.

    `kdbench run RECIPE --out DIR --resume` continues from there. On several machines, start it on each with torchrun or
    srun.

    Example: kdbench train mnist_dense --out runs/dense
    """
    from kdbench import extras
    from kdbench.cli.progress import watching
    from kdbench.machine.openmp import configure_openmp
    from kdbench.recipe.extras import extras_of
    from kdbench.recipe.loading import load_recipe

    invocation = Invocation.of(ctx)
    invocation.resumable = True
    loaded = load_recipe(recipe, all_overrides(overrides, estimate_energy=estimate_energy))
    extras.require_all(extras_of(loaded, measures=False), "kdbench train")
    with watching(invocation, quiet=quiet, title=title) as progress:
        configure_openmp()  # before torch is loaded
        from kdbench.workflows.train import train as train_recipe

        folder = train_recipe(loaded, out, resume=resume, progress=progress)
    if not console.is_rank_zero():
        return
    if json:
        console.result_json({"folder": str(folder)})
    else:
        console.result(f"trained models: {folder}")
