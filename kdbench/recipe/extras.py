"""Which extras of the installation a recipe needs, so that a command names all of them at once."""

from collections.abc import Iterator

from kdbench.extras import EXTRAS
from kdbench.recipe.study import Recipe
from kdbench.results.runtimes import RUNTIMES

_TIMM = "timm/"


def extras_of(recipe: Recipe, *, measures: bool = True) -> Iterator[str]:
    """Yield the extras that training a recipe needs, and those of its runtimes where it also `measures`.

    What depends on the machine, such as whether it has a meter of energy, is left to the command.
    """
    yield "train"
    if any(student.prune is not None for student in recipe.student):
        yield "prune"
    if any(entry.model.name.startswith(_TIMM) for entry in (*recipe.teacher, *recipe.student)):
        yield "timm"
    yield from (name for name in recipe.track if name in EXTRAS)
    if measures:
        yield from (extra for name in recipe.measure.runtime if (extra := RUNTIMES[name].extra))
