"""The workflow of `kdbench merge`: add a device's result to a run's record, or remove it again."""

import shlex
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kdbench import report
from kdbench.edge.results.merging import device_name, device_run, environment_of, findings_of
from kdbench.edge.results.result import Result, read_result
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.files.claim import claimed
from kdbench.judge.device import differences
from kdbench.judge.target import load_target
from kdbench.processes import temporary
from kdbench.report.tables.devices import HOST
from kdbench.results.records import RunRecord
from kdbench.results.records.devices import with_device, without_device
from kdbench.results.run_folder import RECORD, RunFolder
from kdbench.results.values import require_id
from kdbench.workflows.stages.results import record_kept


@dataclass(frozen=True)
class Merged:
    """A run's record with the results of the device called `name`, and how that device differs from the target.

    `repeated` says that the record had them already: only the reports were written again.
    """

    folder: RunFolder
    record: RunRecord
    name: str
    differences: tuple[str, ...] = ()
    repeated: bool = False


def merge(run: str | Path, result: str | Path, *, name: str | None = None) -> Merged:
    """Add the result of a bundle of this run to its record, and write the reports again.

    The device is called `name`, by default as its target if it meets the target's conditions, else as its board or
    processor. The result itself is kept in RUN/devices/, with its raw samples. A result that the record has already
    changes nothing there, but its reports are written again: an interrupted merge may have left the old ones. Raises
    InputError for a result that was changed, that is of other models or another run, or that was merged before under
    another name, and for a name that cannot be one.
    """
    folder, path = _run_folder(run), Path(result)
    if name is not None:
        require_id(name, "give the device another --name")
    with claimed(folder.path):
        record = RunRecord.read(folder.record)
        checked = read_result(path, folder)
        _require_same_models(record, checked, path)
        mismatches = tuple(_differences(record, checked))
        if (known := _merged_before(record, checked, name)) is not None:
            _write_reports(folder)
            return Merged(folder, record, known, mismatches, repeated=True)
        name = name or device_name(checked, target_fits=_names_device(checked) and not mismatches)
        if name == HOST:
            raise InputError(f"a device cannot be called {HOST!r}: this machine is", "give it another --name")
        _require_new(record, checked, name, folder.path)
        with temporary.folder() as work_folder:
            findings = findings_of(checked, record.cards, work_folder)
        device = device_run(checked, name, findings)
        merged = with_device(record, device, findings.measurements, findings.pairs)
        kept = folder.device(name)
        storage.make_folder(kept.parent)
        with storage.replacing(kept) as part:
            shutil.copyfile(path, part)
        merged.write(folder.record)
        _write_reports(folder)
    return Merged(folder, merged, name, mismatches)


def remove(run: str | Path, name: str) -> Merged:
    """Remove the results of a device from a run's record, which is then as it was before the merge.

    Where only the kept result is left of a device, as after an interruption, the rest of the removal is done.
    """
    folder = _run_folder(run)
    with claimed(folder.path):
        restored = RunRecord.read(folder.record)
        if not _only_kept(restored, name, folder):
            restored = _without(restored, name, folder)
            restored.write(folder.record)
        _write_reports(folder)
        folder.device(name).unlink(missing_ok=True)
        if not restored.devices:
            with suppress(OSError):  # something else is in it
                folder.device(name).parent.rmdir()
    return Merged(folder, restored, name)


def _run_folder(run: str | Path) -> RunFolder:
    folder = RunFolder.of(run)
    if folder.record_name != RECORD:
        message = f"{folder.record} is a copy of a record outside a run's folder"
        raise InputError(message, "name the folder of the run")
    return folder


def _only_kept(record: RunRecord, name: str, folder: RunFolder) -> bool:
    """Return whether a device's result is kept, but not in the record, from which a removal takes it first."""
    if any(device.name == name for device in record.devices):
        return False
    return name in {kept.stem for kept in folder.device(name).parent.glob("*.zip")}


def _without(record: RunRecord, name: str, folder: RunFolder) -> RunRecord:
    if not record.devices:
        hint = f"kdbench merge {shlex.quote(str(folder.path))} result.zip merges one"
        raise InputError(f"no device's results are merged into {folder.path}", hint)
    return without_device(record, name)


def _write_reports(folder: RunFolder) -> None:
    with record_kept(folder):
        report.write(report.Content.read(folder.path), folder.path, ("md", "html"))


def _require_same_models(record: RunRecord, result: Result, path: Path) -> None:
    for model in result.known.plan.models:
        card = record.cards.get(model.id)
        if card is None or card.sha256 != model.source_sha256:
            message = f"{path} measured another {model.id} than that of {record.name}"
            raise InputError(message, "make a new bundle of the run, and measure that")


def _merged_before(record: RunRecord, result: Result, name: str | None) -> str | None:
    """Return the name under which the record has this result, if `name` is that one or None; None otherwise."""
    names = (device.name for device in record.devices if device.result == result.id)
    return next((known for known in names if name in {None, known}), None)


def _require_new(record: RunRecord, result: Result, name: str, run: Path) -> None:
    quoted = shlex.quote(str(run))
    for device in record.devices:
        command = f"kdbench merge {quoted} --remove {device.name}"
        if device.result == result.id:
            hint = f"its name is {device.name!r}: {command} removes it"
            raise InputError("this result is merged already, under another name", hint)
        if device.name == name:
            hint = f"give this one another name with --name, or remove the other one: {command}"
            raise InputError(f"the record has results of {name!r} already, of {device.created}", hint)


def _names_device(result: Result) -> bool:
    """Return whether the bundle's target has conditions that identify its device."""
    conditions = load_target(result.known.target).device.model_dump(exclude_defaults=True)
    return bool(conditions.keys() - {"provider", "runtime"})


def _differences(record: RunRecord, result: Result) -> list[str]:
    """Return how the device differs from its bundle's target."""
    target = load_target(result.known.target)
    plain = record.model_copy(update={"environment": environment_of(result), "measurements": ()})
    as_measured = plain.model_copy(update={"protocol": {"provider": result.settings.provider}})
    return differences(as_measured, target.device)
