"""The user code of a run: loaded at its start, hashed for its trainings, known to all processes."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kdbench import plugins
from kdbench.distill.training.devices import processes_of
from kdbench.distill.training.processes import world_size
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.plugins import Recording, Source, located_sources
from kdbench.plugins.modules import is_imported_by, names_file
from kdbench.recipe import Recipe, Student, Trained
from kdbench.recipe.paths import located
from kdbench.registry import Lookup
from kdbench.results.run_folder import RunFolder
from kdbench.user_input.validation import problem
from kdbench.workflows.study.plan import Job, plan

_SOURCES = TypeAdapter(dict[str, list[tuple[str, str, str | None]]])

Code = Mapping[str, Mapping[Source, Path | None]]
"""The sources of the user code that entries run, by the entry's name, each with its file if it has one."""


def load_plugins(recipe: Recipe) -> None:
    """Import a recipe's plug-ins, and find modules in the recipe's folder from now on; raises InputError."""
    names = [
        str(located(plugin, recipe.folder).absolute()) if names_file(plugin) else plugin for plugin in recipe.plugins
    ]
    plugins.activate(names, recipe.folder)


def code_of(jobs: list[Job], recordings: Mapping[str, Recording]) -> Code:
    """Return the sources of the user code that each entry runs; entries without user code are left out."""
    entries = {job.entry.name: job.entry for job in jobs}
    code = {name: located_sources(recorded, list(_options(entries[name]))) for name, recorded in recordings.items()}
    return {name: sources for name, sources in code.items() if sources}


def require_known_everywhere(
    recipe: Recipe, jobs: list[Job], recordings: Mapping[str, Recording], data_code: Recording
) -> None:
    """Raise InputError for user code that the processes which train a job together cannot import."""
    if world_size() > 1:
        return  # torchrun started the same script everywhere
    for job in jobs:
        if processes_of(job.training) == 1:
            continue
        names = [job.entry.name, *(teacher.entry.name for teacher in job.teachers)]
        uses = [use for name in names for use in recordings[name].uses]
        for use in (*uses, *data_code.uses):
            if not _is_importable(use, recipe):
                message = f"{use.kind} {use.name!r} comes from {use.module}, which other processes cannot import"
                hint = (
                    'write it to a file, and name that in the recipe: plugins = ["mynets.py"]; or train in one process'
                )
                raise InputError(f"{job.entry.name}: {message}", hint)


def write_code(code: Code, folder: RunFolder) -> None:
    """Write the sources to the run's folder, for the processes that train a job together."""
    if code:
        content = {
            name: [[*source, None if file is None else str(file)] for source, file in sources.items()]
            for name, sources in code.items()
        }
        storage.write_json(folder.code, content)
    else:
        folder.code.unlink(missing_ok=True)


def read_code(folder: RunFolder) -> Code:
    """Return the sources that the run wrote when it started; raises InputError for a damaged file."""
    if not folder.code.exists():
        return {}
    content = storage.read_json(folder.code, "list of sources")
    try:
        listed = _SOURCES.validate_python(content)
    except ValidationError as error:
        message = f"{folder.code} is not a list of sources: {problem(error).message}"
        raise InputError(
            message, "delete it and resume: models that depend on these sources are trained again"
        ) from error
    return {
        name: {Source(source, sha256): Path(file) if file else None for source, sha256, file in sources}
        for name, sources in listed.items()
    }


def planned_job(recipe: Recipe, job_id: str, folder: RunFolder) -> Job:
    """Return the job that this process was started to train.

    Raises InputError if a file of the code that the job or one of its teachers runs has changed since the run started.
    """
    code = read_code(folder)
    job = next(job for job in plan(recipe, code) if job.id == job_id)
    for name in (job.entry.name, *(teacher.entry.name for teacher in job.teachers)):
        for source, file in code.get(name, {}).items():
            if file is not None and (not file.is_file() or storage.sha256(file) != source.sha256):
                message = f"{job_id}: {source.name} changed since the run started"
                raise InputError(message, "continue with --resume, which trains again the models that depend on it")
    return job


def _options(entry: Trained) -> Iterable[dict[str, Any]]:
    yield entry.model.options
    if entry.data.augment.transform is not None:
        yield entry.data.augment.transform.options
    if isinstance(entry, Student):
        yield from (term.options for term in entry.terms)


def _is_importable(use: Lookup, recipe: Recipe) -> bool:
    if ":" in use.name:
        return not use.name.startswith("__main__:")
    return use.module is not None and is_imported_by(recipe.plugins, use.module)
