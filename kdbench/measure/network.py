"""The network that a file was exported from, by the card beside it, for runtimes that do not run the file."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kdbench.results.cards import ModelCard
from kdbench.results.records import Status
from kdbench.worker.jobs import Network

# A name that only the measuring process resolves. It never comes from a file.
_BUILDER = "kdbench.models:build"
_LONGEST_SHOWN = 80  # characters of a name that comes from a file


@dataclass(frozen=True)
class Refusal:
    """Why a model is not measured, or not in one runtime, what to do about it, and the missing numbers' status."""

    reason: str
    hint: str | None = None
    status: Status = "unavailable"


FOREIGN = Refusal(
    "the network that the file was exported from is not known",
    "measure RUN/models/ID.onnx of a kdbench run, where the weights lie beside it",
)

EMULATED = Refusal(
    "it was trained with fake quantization, which PyTorch emulates in float32 with a pass for every rounding: its "
    "times would be the emulation's",
    "measure its file in onnxruntime",
)


def network_of(card: ModelCard | None, path: Path) -> Network | Refusal:
    """Return how to build the network that the file at `path` was exported from, by its `card`, or why nothing can.

    The weights are in the run's folder, to which the card's `file` is relative.
    """
    if card is None:
        return FOREIGN
    if card.bits is not None:
        return EMULATED
    if card.architecture is None or card.weights is None or card.classes is None:
        return Refusal("the card beside the file names no weights", "export it again: kdbench run … --resume")
    weights = _inside(_run_folder(card, path), card.weights)
    if weights is None:
        shown = card.weights if len(card.weights) < _LONGEST_SHOWN else f"{card.weights[:_LONGEST_SHOWN]}…"
        return Refusal(f"its weights are not at {shown!r} in its run's folder", "measure it where it was exported")
    return Network(_BUILDER, (card.architecture, card.input_shape, card.classes), card.options, str(weights))


def _run_folder(card: ModelCard, path: Path) -> Path:
    """Return the folder that `card.file` is relative to; for a file that has been moved, the one it lies in."""
    here, file = path.resolve(), PurePosixPath(card.file)
    moved = file.is_absolute() or here.parts[-len(file.parts) :] != file.parts
    return here.parent if moved else here.parents[len(file.parts) - 1]


def _inside(folder: Path, name: str) -> Path | None:
    """Return the file called `name` in `folder`; None where there is none, or it lies outside, even by a link.

    A card may come from anywhere: a name that is no valid path is a user's input, not a bug.
    """
    try:
        file = (folder / name).resolve()
        return file if file.is_relative_to(folder) and file.is_file() else None
    except (OSError, RuntimeError, ValueError):  # too long a name, a cycle of links, a null character
        return None
