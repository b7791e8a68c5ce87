"""The process that exports trained networks beside the trainings: `python -m kdbench.workflows.workers.export`.

It reads one JSON object a line from standard input: first {"folder": PATH} of the run, then {"job": ID} for each
trained job. It responds to each job with {"job": ID, "written": …}, null if it could not be exported.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from torch import nn

from kdbench.export.onnx import export_onnx
from kdbench.files import storage
from kdbench.processes import messages, temporary
from kdbench.processes.parent import end_with_parent
from kdbench.recipe import Recipe
from kdbench.recipe.loading import recipe_from
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.stages.export import WrittenModel, write_file
from kdbench.workflows.study.run_data import RunData, load_run_data
from kdbench.workflows.study.teacher_forms import form_of
from kdbench.workflows.study.user_code import planned_job


def main(lines: Iterable[str]) -> None:
    """Export the jobs that `lines` request, until the lines end."""
    end_with_parent(reads_input=True)
    _load_exporter()
    run: tuple[Recipe, RunData, RunFolder] | None = None
    for line in lines:
        message = json.loads(line)
        if "folder" in message:
            folder = RunFolder(Path(message["folder"]))
            recipe = recipe_from(storage.read_json(folder.marker, "recipe"), str(folder.marker))
            run = recipe, load_run_data(recipe), folder
            continue
        assert run is not None, "the folder comes first"
        try:
            written: WrittenModel | None = _written(message["job"], *run)
        except Exception:  # noqa: BLE001 - the run exports it again, and reports the error
            written = None
        response = {"job": message["job"], "written": None if written is None else asdict(written)}
        messages.write(response)


def _load_exporter() -> None:
    """Export a small network: torch loads its exporter at the first use, which takes longer than most networks."""
    with temporary.folder() as folder:
        export_onnx(nn.Linear(2, 2), (2,), folder / "linear.onnx")


def _written(job_id: str, recipe: Recipe, run_data: RunData, folder: RunFolder) -> WrittenModel:
    job = planned_job(recipe, job_id, folder)
    return write_file(job, form_of(job, run_data), run_data, folder)


if __name__ == "__main__":
    main(iter(sys.stdin.readline, ""))
