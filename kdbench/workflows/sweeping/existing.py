"""The finished results in a sweep's folder: trainings with their exported files, and measured parts.

Results are identified by what they depend on, not by their name: a training by its key, a part by hashes of its files
and of how they are measured. If a longer sweep has other names (`student` becomes `student-seed0` with several seeds),
the files are renamed.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kdbench.distill.training import fit
from kdbench.errors import KdbenchError
from kdbench.files import storage
from kdbench.modelfile.identity import model_sha256
from kdbench.results.run_folder import PART, RunFolder, card_path
from kdbench.workflows.stages.export import WrittenModel, written_from
from kdbench.workflows.study.analyses import subtracted_names
from kdbench.workflows.study.model_sources import file_hash
from kdbench.workflows.study.plan import Job
from kdbench.workflows.study.teacher_forms import is_onnx_teacher
from kdbench.workflows.sweeping.plan import Part, SweepPlan

EXPORT = "export.json"  # beside the weights: the training of a model's file, and the parity of the two
PARTS = "parts"
_MOVING = ".moving-"
_UNHASHED_VARIANT = {"name", "of", "family", "axes"}

Keys = Mapping[str, str]
"""The key of each training by the job's id."""


def write_export(job: Job, key: str, written: WrittenModel, folder: RunFolder) -> None:
    """Write which training the model file of a job comes from."""
    content = {"key": key, "sha256": storage.sha256(folder.model(job.id)), **asdict(written)}
    storage.write_json(folder.checkpoint(job.id) / EXPORT, content)


def existing_export(job: Job, key: str, folder: RunFolder) -> WrittenModel | None:
    """Return the result of exporting a job, if its model file exists and comes from the training `key`; else None."""
    content, path = _export(job.id, folder), folder.model(job.id)
    if content.get("key") != key or not path.exists() or storage.sha256(path) != content.get("sha256"):
        return None
    try:
        return written_from(content)
    except (KeyError, TypeError):
        return None  # another version's


def is_done(job: Job, key: str, folder: RunFolder) -> bool:
    """Return whether a job is complete: it is trained, and its file is exported and has a card."""
    if job.logits is not None:
        return True
    model = folder.model(job.id)
    has_card = bool(content_of(card_path(model), "card"))
    if is_onnx_teacher(job):
        return has_card and model.exists() and model_sha256(model) == model_sha256(_file(job))
    trained = fit.finished(folder.checkpoint(job.id), key) is not None
    return trained and (job.part is not None or (has_card and existing_export(job, key, folder) is not None))


def model_hash(job: Job, folder: RunFolder) -> str:
    """Return the hash of a job's exported file."""
    return file_hash(_file(job)) if is_onnx_teacher(job) else str(_export(job.id, folder).get("sha256"))


def _file(job: Job) -> Path:
    assert job.weights is not None, "a teacher without a network has a file"
    return job.weights


def _export(id_: str, folder: RunFolder) -> dict[str, Any]:
    return content_of(folder.checkpoint(id_) / EXPORT, "note of an export")


def content_of(file: Path, what: str) -> dict[str, Any]:
    """Return the JSON object in a file, called `what`; empty if it is lost or damaged, so that it is made again."""
    try:
        content = storage.read_json(file, what)
    except KdbenchError:
        return {}
    return content if isinstance(content, dict) else {}


def former_names(keys: Keys, folder: RunFolder) -> dict[str, str]:
    """Return the trainings in the folder that have another name in `keys`: new id to old name."""
    root = folder.path / "checkpoints"
    if not root.is_dir():
        return {}
    present = {path.name: key for path in root.iterdir() if (key := _key_of(path)) is not None}
    missing = {id_ for id_, key in keys.items() if present.get(id_) != key}
    by_key = {key: name for name, key in present.items() if keys.get(name) != key}
    names: dict[str, str] = {}
    for id_ in keys:
        if id_ in missing and (name := by_key.pop(keys[id_], None)) is not None:
            names[id_] = name
    return names


def rename_trainings(names: Mapping[str, str], folder: RunFolder) -> None:
    """Give the trainings of `former_names` and their model files their new names."""
    for id_, name in names.items():  # to temporary names first: an old name may be another training's new one
        folder.checkpoint(name).replace(folder.checkpoint(f"{_MOVING}{id_}"))
        _rename_model(folder, name.removeprefix(_MOVING), f"{_MOVING}{id_}")
    for id_ in names:
        shutil.rmtree(folder.checkpoint(id_), ignore_errors=True)
        folder.checkpoint(f"{_MOVING}{id_}").replace(folder.checkpoint(id_))
        _rename_model(folder, f"{_MOVING}{id_}", id_)


def _rename_model(folder: RunFolder, name: str, id_: str) -> None:
    old, new = folder.model(name), folder.model(id_)
    for source, target in ((old, new), (card_path(old), card_path(new))):
        with suppress(FileNotFoundError):
            source.replace(target)


def _key_of(checkpoint: Path) -> str | None:
    """Return the key of the complete training in a folder; None without any."""
    try:
        with (checkpoint / fit.SUMMARY).open(encoding="utf-8") as stream:
            content = json.load(stream)
    except (OSError, ValueError):
        return None
    key = content.get("key") if isinstance(content, dict) else None
    return key if isinstance(key, str) else None


@dataclass(frozen=True)
class PartFolder:
    """The folder of one measured part: its record, its samples, and the ids that its models had."""

    path: Path

    @classmethod
    def of(cls, folder: RunFolder, name: str) -> "PartFolder":
        """Return the folder of the part called `name` in a sweep's folder."""
        return cls(folder.path / PARTS / name)

    @property
    def record(self) -> Path:
        """The part's record."""
        return self.path / "record.json"

    @property
    def samples(self) -> Path:
        """The part's raw samples."""
        return self.path / "samples.npz"

    @property
    def ids(self) -> Path:
        """The ids of the part's models, in the order of its key; written last."""
        return self.path / PART

    @property
    def workspace(self) -> Path:
        """A folder for files that measuring processes exchange."""
        return self.path / ".measuring"

    def complete(self, models: Sequence[str]) -> None:
        """Mark the part as measured, after its record and samples are written; `models` are the ids in its record."""
        hashes = {file.name: storage.sha256(file) for file in self._measured}
        storage.write_json(self.ids, {"models": list(models), "sha256": hashes})

    def is_complete(self) -> bool:
        """Return whether the part was measured to its end, and its files are still those that were written."""
        content = content_of(self.ids, "list of models")
        if "models" not in content:
            return False
        hashes = content.get("sha256")
        if not isinstance(hashes, dict):  # earlier versions wrote none
            return self.record.exists()
        try:
            return all(storage.sha256(file) == hashes.get(file.name) for file in self._measured)
        except OSError:
            return False

    @property
    def _measured(self) -> tuple[Path, Path]:
        return self.record, self.samples


def part_folder(plan: SweepPlan, part: Part, data: str, folder: RunFolder) -> PartFolder:
    """Return the folder of a part whose models are all exported; `data` is the content hash of the data.

    Its name is a hash of the files, how they are compressed and how they are measured, which of them the recipe's
    reported differences compare included.
    """
    recipe, place = plan.recipe, {id_: number for number, id_ in enumerate(part.model_ids)}
    compressed = (*part.sources, *part.variants)
    variants = {one.name: one for one in plan.sub_recipe(part.names).variant} if compressed else {}
    teachers = [plan.by_id[id_].teacher for id_ in part.jobs]
    content: dict[str, Any] = {
        "jobs": [[model_hash(plan.by_id[id_], folder), id_ in part.jobs] for id_ in (*part.companions, *part.jobs)],
        "teachers": [None if teacher is None else place.get(teacher.id) for teacher in teachers],
        "variants": [
            [variants[one.name].model_dump(mode="json", exclude=_UNHASHED_VARIANT), place.get(one.source, one.source)]
            for one in compressed
        ],
        "own": len(part.variants),
        "timed": [id_ in part.timed for id_ in part.model_ids],
        "measure": recipe.measure.model_dump(mode="json"),
        "analysis": recipe.analysis.model_dump(mode="json"),
        "data": [data, recipe.data.model_dump(mode="json", exclude={"root", "download"})],
    }
    if differences := _differences(plan, part):
        content["differences"] = differences
    return PartFolder.of(folder, storage.content_hash(content)[:24])


def _differences(plan: SweepPlan, part: Part) -> list[tuple[int, int]]:
    """Return the places of the models that the recipe's reported differences compare in a part."""
    jobs = [plan.by_id[id_] for id_ in (*part.companions, *part.jobs)]
    place = {(job.entry.name, job.of_seed): number for number, job in enumerate(jobs)}
    subtracted, of_part = subtracted_names(plan.recipe), set(part.jobs)
    pairs = (
        (number, place.get((name, job.of_seed)))
        for number, job in enumerate(jobs)
        for name in (subtracted.get(job.entry.name, ()) if job.id in of_part else ())
    )
    return sorted({(first, second) for first, second in pairs if second is not None})
