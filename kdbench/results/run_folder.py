"""Where a run leaves its values: one folder, one place for each, so that any stage can be taken up again.

OUT/recipe.json                  the recipe as resolved: what the folder is for
OUT/checkpoints/ID/              weights.safetensors, training.json, curve.csv
OUT/models/ID.onnx, ID.card.json what ships, and what it is
OUT/record.json, samples.npz     what was measured, and the raw samples behind it
OUT/verdicts/TARGET.json         how it stands to a target
OUT/report.md, figures/          what a person reads; the same as one page: OUT/report.html
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench import storage
from kdbench.errors import InputError
from kdbench.results.cards import ModelCard
from kdbench.results.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

DEFAULT_PARENT = Path("runs")


@dataclass(frozen=True)
class RunFolder:
    """The layout of one run's folder."""

    path: Path

    @property
    def marker(self) -> Path:
        """The file that says that this is a run's folder, and of which recipe."""
        return self.path / "recipe.json"

    @property
    def record(self) -> Path:
        """The run's record."""
        return self.path / "record.json"

    def checkpoint(self, model_id: str) -> Path:
        """Return the folder of one model's training."""
        return self.path / "checkpoints" / model_id

    def model(self, model_id: str) -> Path:
        """Return the path of one model's ONNX file."""
        return self.path / "models" / f"{model_id}.onnx"

    @property
    def verdicts(self) -> Path:
        """The folder of the verdicts, one file a target."""
        return self.path / "verdicts"

    def verdict(self, target: str) -> Path:
        """Return the path of the verdict against one target."""
        return self.verdicts / f"{target}.json"

    @property
    def workspace(self) -> Path:
        """Return the folder through which measuring processes are fed; it holds nothing worth keeping."""
        return self.path / ".measuring"

    def write_card(self, card: ModelCard) -> None:
        """Write a model's card beside its file."""
        storage.write_json(card_path(self.model(card.id)), card.model_dump(mode="json"))

    def write_verdict(self, verdict: Verdict) -> Path:
        """Write a verdict, in the place of an earlier one on the same target, and return its path.

        Raises StorageError where that cannot be.
        """
        storage.make_folder(self.verdicts)
        verdict.write(self.verdict(verdict.target))
        return self.verdict(verdict.target)

    def write_samples(self, samples: "Mapping[str, NDArray[Any]]") -> None:
        """Write the raw samples, so that any statistic can be computed again."""
        import numpy as np

        with storage.writing(self.path / "samples.npz") as stream:
            np.savez_compressed(stream, **samples)  # type: ignore[arg-type]


def card_path(model: Path) -> Path:
    """Return where the card of an ONNX file lies: beside it."""
    return model.with_suffix(".card.json")


def refuse_changed(file: Path, card: ModelCard, hint: str) -> None:
    """Raise InputError where a file is not the one that a card is of: it was changed or cut short since."""
    if storage.sha256(file) != card.sha256:
        raise InputError(f"{file} is not the file that the record is of", hint)


def choose_folder(name: str, out: Path | None, *, resume: bool = False) -> Path:
    """Return the folder for a run called `name`: `out`, or a new one under `runs/` named after it and the time.

    With `resume` and no `out`, the newest folder of that name. Raises InputError where there is nothing to
    resume, or where `out` is taken; StorageError where a new folder cannot be made.
    """
    if out is None:
        return _newest(name) if resume else _new(name)
    refuse_taken(out, resume=resume)
    return out


def refuse_taken(out: Path | None, *, resume: bool = False) -> None:
    """Raise InputError where `out` already holds results and `resume` was not asked for; make nothing.

    Work that loads data before it claims its folder asks this first, so that its user need not wait for the answer.
    """
    if out is None:
        return
    try:
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file, not a folder", "choose another folder with --out")
    except OSError as error:  # a name that is too long, say
        raise storage.storage_error(error, out) from error
    if RunFolder(out).marker.exists():
        if not resume:
            hint = "add --resume to go on with it, or choose another folder with --out"
            raise InputError(f"{out} already holds a run", hint)
    elif RunFolder(out).record.exists():
        raise InputError(f"{out} already holds a record", "choose another folder with --out")


def _newest(name: str) -> Path:
    stamp = f"{8 * '[0-9]'}-{6 * '[0-9]'}*"
    earlier = sorted(path for path in DEFAULT_PARENT.glob(f"{name}-{stamp}") if RunFolder(path).marker.exists())
    if not earlier:
        raise InputError(f"there is no run of {name!r} under {DEFAULT_PARENT}/ to resume", "name its folder with --out")
    return earlier[-1]


def _new(name: str) -> Path:
    """Make and return a folder that nobody else has, also when another run begins in the same second."""
    storage.make_folder(DEFAULT_PARENT)
    stem = f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        path = DEFAULT_PARENT / f"{stem}{suffix}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise storage.storage_error(error, path) from error
        return path
    raise AssertionError("a hundred runs within a second")
