"""Whether a model is the one that a card describes, its external data included."""

from pathlib import Path

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.modelfile.formats.external_data import files_sha256
from kdbench.modelfile.reading import model_files
from kdbench.results.cards import ModelCard


def model_sha256(path: Path) -> str:
    """Return the hash of the model at `path`, as in `ModelFacts`; that of the file alone if it cannot be read."""
    try:
        return files_sha256(model_files(path))
    except InputError:  # another kind of file, or one that is cut short
        return storage.sha256(path)


def is_recorded(card: ModelCard, path: Path) -> bool:
    """Return whether `card` describes the model at `path` as it is now."""
    return card.sha256 == storage.sha256(path) or card.sha256 == model_sha256(path)  # few models need the second


def require_recorded(card: ModelCard, path: Path, hint: str) -> None:
    """Raise InputError unless `card` describes the model at `path`, which was then changed or cut short."""
    if not is_recorded(card, path):
        raise InputError(f"{path} is not the file that the record describes", hint)
