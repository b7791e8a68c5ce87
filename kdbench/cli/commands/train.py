"""`kdbench train`: only the training stage of a recipe."""

import typer

from kdbench.cli import console
from kdbench.cli.commands.run import Overrides, RecipeName, Resume, all_overrides
from kdbench.cli.invocation import Invocation
from kdbench.cli.options import EstimateEnergy, Json, Out, Quiet


def train(
    ctx: typer.Context,
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Out = None,
    resume: Resume = False,
    estimate_energy: EstimateEnergy = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a recipe's teachers and students, and stop there.

    `kdbench run RECIPE --out DIR --resume` continues from there. On several machines, start it on each with torchrun or
    srun.

    Example: kdbench train mnist_dense --out runs/dense
    """
    from kdbench.cli.progress import watching
    from kdbench.recipe.loading import load_recipe

    invocation = Invocation.of(ctx)
    invocation.resumable = True
    loaded = load_recipe(recipe, all_overrides(overrides, estimate_energy=estimate_energy))
    with watching(invocation, quiet=quiet) as progress:
        from kdbench.workflows.train import train as train_recipe

        folder = train_recipe(loaded, out, resume=resume, progress=progress)
    if not console.is_rank_zero():
        return
    if json:
        console.result_json({"folder": str(folder)})
    else:
        console.result(f"trained models: {folder}")
