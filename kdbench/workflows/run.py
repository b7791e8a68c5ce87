"""The main workflow: recipe → checkpoints → ONNX files → record → verdicts and reports.

Each stage reads what the previous one left in the run's folder, so that an interrupted run can be resumed.
"""

from collections.abc import Sequence
from pathlib import Path

from kdbench.judge.target import Target, targets_of
from kdbench.progress import Progress, Silent
from kdbench.recipe import Recipe
from kdbench.results.run_folder import folder_of
from kdbench.workflows.stages.export_ahead import export_ahead
from kdbench.workflows.stages.results import RunResults, write_results


def run_recipe(
    recipe: Recipe,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    targets: Sequence[Target | str | Path] = (),
    progress: Progress | None = None,
    command: str = "",
) -> RunResults:
    """Train, export, measure, judge and report a recipe.

    `resume` continues the run in `out` and reuses its trainings under the same settings. The verdicts on `targets`,
    which may be names or paths, are written to the run's folder. `command` re-creates the run; reports show it. Raises
    a KdbenchError that the user can fix; finished stages stay on disk. `kdbench.run` is this function in the Python
    API.
    """
    progress, loaded_targets = progress or Silent(), targets_of(targets)
    with export_ahead(recipe) as ahead:  # before the imports: the other process loads its libraries at the same time
        from kdbench.measure.harness import check_config
        from kdbench.workflows.stages.compress import compress_all
        from kdbench.workflows.stages.export import export_all
        from kdbench.workflows.stages.measure import measure_all
        from kdbench.workflows.stages.start import report_on_rank_zero, require_single_process, started_run
        from kdbench.workflows.stages.tracking import track_results
        from kdbench.workflows.stages.train import train_all

        with report_on_rank_zero():
            require_single_process()
        check_config(recipe.measure, progress)
        with started_run(recipe, folder_of(out), progress, resume=resume) as (run_data, jobs, folder):
            after = 3 + bool(recipe.variant)
            total = len(jobs) + after
            train_all(recipe, jobs, run_data, folder, progress, stages_after=after, ahead=ahead)
            progress.stage("export", len(jobs) + 1, total)
            exports = export_all(recipe, jobs, run_data, folder, progress, ahead)
            if recipe.variant:
                progress.stage("compress", total - 2, total)
                exports += compress_all(recipe, exports, run_data, folder, progress)
            progress.stage("measure", total - 1, total)
            record, samples = measure_all(recipe, exports, run_data, folder, progress, command)
            progress.stage("report", total, total)
            results = write_results(record, samples, folder, loaded_targets)
            track_results(recipe, jobs, results.record, run_data.content, folder, progress)
            return results
