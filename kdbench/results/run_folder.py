"""The folder of a run: one place for each value, so that any stage can be run again.

OUT/recipe.json                  the resolved recipe
OUT/code.json                    the hashes of user code, by model, if there is any
OUT/checkpoints/ID/              weights.safetensors, training.json, curve.csv
OUT/models/ID.onnx, ID.card.json the model that ships, and its card
OUT/tracking/NAME/               what the tracker NAME keeps, if the recipe has trackers
OUT/record.json, samples.npz     the measurements, and the raw samples behind them
OUT/verdicts/TARGET.json         the verdict against a target
OUT/report.md, figures/          the report; OUT/report.html is the same as one page
OUT/bundles/                     bundles for devices, and what merging their results needs
OUT/devices/NAME.zip             the merged result of a device, its raw samples included
OUT/.in-use                      the process that works in the folder at the moment
"""

import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.files.claim import require_free
from kdbench.files.nearby import nearest_path

DEFAULT_PARENT = Path("runs")
RECORD = "record.json"
PART = "part.json"
"""Beside the record of a part of a sweep, whose numbers are in the record of the sweep too."""
_LISTED = 5  # runs in a hint
_CHOOSE_ANOTHER = "choose another folder with --out"


@dataclass(frozen=True)
class RunFolder:
    """The layout of one run's folder.

    `record_name` is the record's file name. It differs from `record.json` only for a record that was copied elsewhere.
    """

    path: Path
    record_name: str = RECORD

    @classmethod
    def of(cls, path: str | Path) -> Self:
        """Return the run that `path` belongs to: its folder, its record, or one of its reports (.md, .html).

        Raises InputError for a model, and if there is no record; the hint for a folder of runs names them.
        """
        path = Path(path)
        if path.suffix == ".onnx":
            hint = f"measure it first: kdbench bench {shlex.quote(str(path))} leaves a record"
            raise InputError(f"{path} is a model, not a record", hint)
        is_record = not path.is_dir() and path.suffix not in {".md", ".html"}
        run = cls(path.parent, path.name) if is_record else cls(path if path.is_dir() else path.parent)
        if not run.record.exists():
            if runs := sorted(record.parent.name for record in path.glob(f"*/{RECORD}")):
                hint = f"name one of them: {', '.join(runs[-_LISTED:])}"
                raise InputError(f"{path} is a folder of runs, not a run", hint)
            raise InputError(f"no record at {run.record}", _expected(path))
        return run

    @property
    def marker(self) -> Path:
        """The file that marks a run's folder and holds its recipe."""
        return self.path / "recipe.json"

    @property
    def code(self) -> Path:
        """The hashes of the user code that models were trained with."""
        return self.path / "code.json"

    @property
    def record(self) -> Path:
        """The run's record."""
        return self.path / self.record_name

    @property
    def samples(self) -> Path:
        """The raw samples, an archive of arrays: see `kdbench.results.samples`."""
        return self.path / "samples.npz"

    @property
    def reports(self) -> tuple[Path, ...]:
        """The existing reports of the run, of report.md and report.html; a copied record has none."""
        names = ("report.md", "report.html") if self.record_name == RECORD else ()
        return tuple(path for name in names if (path := self.path / name).is_file())

    @property
    def report_command(self) -> str:
        """The command that writes the reports again from the record."""
        return shlex.join(("kdbench", "report", str(self.path), "--format", "md,html"))

    @property
    def comparison(self) -> Path:
        """The comparison that the run was measured for."""
        return self.path / "comparison.json"

    def checkpoint(self, model_id: str) -> Path:
        """Return the folder of one model's training."""
        return self.path / "checkpoints" / model_id

    def model(self, model_id: str) -> Path:
        """Return the path of one model's ONNX file."""
        return self.path / "models" / f"{model_id}.onnx"

    @property
    def verdicts(self) -> Path:
        """The folder of the verdicts, one file per target."""
        return self.path / "verdicts"

    def verdict(self, target: str) -> Path:
        """Return the path of the verdict against one target."""
        return self.verdicts / f"{target}.json"

    @property
    def bundles(self) -> Path:
        """The folder of the bundles that were made of the run."""
        return self.path / "bundles"

    def device(self, name: str) -> Path:
        """Return the path of the merged result of one device."""
        return self.path / "devices" / f"{name}.zip"

    @property
    def tracking(self) -> Path:
        """The folder of the experiment trackers, one folder per tracker."""
        return self.path / "tracking"

    @property
    def workspace(self) -> Path:
        """The folder for files that measuring processes exchange; it can be deleted."""
        return self.path / ".measuring"


def _expected(path: Path) -> str:
    """Return the hint for a path without a record: a run with a similar name, else those below runs/."""
    expected = "name a run's folder or its record.json"
    if meant := nearest_path(path, _is_run) or nearest_path(DEFAULT_PARENT / path, _is_run):
        return f"{expected}; did you mean {str(meant)!r}?"
    runs = sorted(str(record.parent) for record in DEFAULT_PARENT.glob(f"*/{RECORD}"))
    return f"{expected}; there are: {', '.join(runs[-_LISTED:])}" if runs else expected


def _is_run(path: Path) -> bool:
    return path.suffix == ".json" or (path / RECORD).is_file()


def folder_of(out: str | Path | None) -> Path | None:
    """Return the folder that a user names; None if none is named."""
    return None if out is None else storage.with_home(out)


def card_path(model: Path) -> Path:
    """Return the path of an ONNX file's card, in the same folder."""
    return model.with_suffix(".card.json")


def choose_folder(name: str, out: Path | None, *, resume: bool = False) -> Path:
    """Return the folder for a run called `name`: `out`, or a new one under `runs/` named after it and the time.

    With `resume` and no `out`, return the newest folder of that name. Raises InputError if there is nothing to resume
    or `out` already holds results, StorageError if a new folder cannot be created.
    """
    if out is None:
        return _newest(name) if resume else _new(name)
    require_unused(out, resume=resume)
    return out


def require_unused(out: Path | None, *, resume: bool = False) -> None:
    """Raise InputError if a process works in `out`, or as `require_no_results`; create nothing.

    Workflows call this before they load data, so that the user sees the error at once.
    """
    if out is not None:
        require_free(out)
        require_no_results(out, resume=resume)


def require_no_results(out: Path | None, *, resume: bool = False) -> None:
    """Raise InputError if `out` already holds results, unless `resume` is set."""
    if out is None:
        return
    try:
        if out.exists() and not out.is_dir():
            raise InputError(f"{out} is a file, not a folder", _CHOOSE_ANOTHER)
    except OSError as error:  # for example a name that is too long
        raise storage.storage_error(error, out) from error
    if RunFolder(out).marker.exists():
        if not resume:
            hint = "add --resume to continue it, or choose another folder with --out"
            raise InputError(f"{out} already holds a run", hint)
    elif RunFolder(out).record.exists():
        raise InputError(f"{out} already holds a record", _CHOOSE_ANOTHER)


def _newest(name: str) -> Path:
    stamp = f"{8 * '[0-9]'}-{6 * '[0-9]'}*"
    earlier = sorted(path for path in DEFAULT_PARENT.glob(f"{name}-{stamp}") if RunFolder(path).marker.exists())
    if not earlier:
        raise InputError(f"there is no run of {name!r} under {DEFAULT_PARENT}/ to resume", "name its folder with --out")
    require_free(earlier[-1])
    return earlier[-1]


def _new(name: str) -> Path:
    """Create and return a new folder, unique also when another run starts in the same second."""
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
