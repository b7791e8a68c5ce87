"""Which extras of the installation a sweep needs. It loads neither torch nor the extras' libraries."""

from collections.abc import Iterator

from kdbench.recipe.extras import extras_of
from kdbench.recipe.loading import SweptRecipe
from kdbench.workflows.sweeping.execution.names import LOCAL, address_of, is_slurm


def extras_of_sweep(swept: SweptRecipe, on: str) -> Iterator[str]:
    """Yield the extras that a recipe, its search and its engine need; raises InputError if `on` names no engine."""
    yield from extras_of(swept.recipe)
    if swept.table.search is not None:
        yield "search"
    if is_slurm(on):
        yield "slurm"
    elif on not in LOCAL:
        address_of(on)
        yield "cluster"
