"""From the card beside a file to the network that was exported into it, for runtimes that do not run the file."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kdbench.cards import ModelCard
from kdbench.measure.jobs import Network

# Named, not imported: the measuring process that needs it resolves it. It never comes from a file.
_BUILDER = "kdbench.models:build"


@dataclass(frozen=True)
class Refusal:
    """Why a runtime does not run a model, and what to do about it; a `fault` is what should have worked."""

    reason: str
    hint: str | None = None
    fault: bool = False


FOREIGN = Refusal(
    "the network that the file was exported from is not known",
    "measure RUN/models/ID.onnx of a kdbench run, where the weights lie beside it",
)


def network_of(card: ModelCard | None, path: Path) -> Network | Refusal:
    """Return how to build the network that `card` says the file at `path` was exported from, or why nobody can.

    The weights are looked for in the run's folder, which is where the card's own `file` is relative to.
    """
    if card is None:
        return FOREIGN
    if card.architecture is None or card.weights is None or card.classes is None:
        return Refusal("the card beside the file names no weights", "export it again: kdbench run … --resume")
    folder = _run_folder(card, path)
    weights = (folder / card.weights).resolve()
    if not weights.is_relative_to(folder) or not weights.is_file():
        return Refusal(f"its weights are not at {card.weights} in its run's folder", "measure it where it was exported")
    return Network(_BUILDER, (card.architecture, card.input_shape, card.classes), card.options, str(weights))


def _run_folder(card: ModelCard, path: Path) -> Path:
    """Return the folder that `card.file` is relative to; for a file that has been moved, the one it lies in."""
    here, inside = path.resolve(), PurePosixPath(card.file).parts
    return here.parents[len(inside) - 1] if here.parts[-len(inside) :] == inside else here.parent
