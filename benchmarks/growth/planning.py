"""What happens before anything runs: checks and jobs of large recipes, and the numbers expected of many files."""

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.faults.material.models import linear
from kdbench.measure.context import Context, all_passes
from kdbench.measure.harness import with_missing
from kdbench.measure.staging import stage
from kdbench.recipe import InputOptions, Measure
from kdbench.recipe.loading import SweptRecipe, load_sweep, recipe_of
from kdbench.results.findings import Findings
from kdbench.workflows.files.model_files import load_bench_model
from kdbench.workflows.stages.start import checked_run
from kdbench.workflows.sweep import outline_sweep

_NOWHERE = "no-such-folder"


def recipe(points: int) -> Callable[[], object]:
    """Return the check and the plan of a recipe with that many students: what `kdbench run` does before it trains."""
    content = _content({"sweep": _axes(points, "")})
    return lambda: checked_run(recipe_of(content), None, resume=False)


def sweep(points: int) -> Callable[[], object]:
    """Return what `kdbench sweep --dry-run` does with that many points: it also times steps and divides the work."""
    return lambda: outline_sweep(swept(points), Path(_NOWHERE))


def swept(points: int) -> SweptRecipe:
    """Return a recipe over that many points, whose networks and data are small."""
    return load_sweep(_content({}), _axes(points, "student.0."))


def _axes(points: int, prefix: str) -> dict[str, list[float]]:
    rates = [step / 1e6 for step in range(1, points // 5 + 1)]
    return {f"{prefix}training.optimizer.lr": rates, f"{prefix}training.epochs": [1, 2, 3, 4, 5]}


def _content(of_student: Mapping[str, object]) -> dict[str, object]:
    model = {"name": "dense", "hidden": [16]}
    student = {"name": "student", "model": model, "teacher": "teacher", "terms": [{"method": "kd"}], **of_student}
    teacher = {"name": "teacher", "model": model}
    return {"name": "growth", "data": {"name": "digits"}, "teacher": [teacher], "student": [student]}


def bench(models: int, folder: Path) -> Callable[[], object]:
    """Return all of a bench of that many files but the measurement itself: every expected number is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    content = linear().SerializeToString()
    files = [folder / f"model-{number}.onnx" for number in range(models)]
    for file in files:
        file.write_bytes(content)
    config = Measure(batch=(8, 32, 128), threads=(1, 2), profile=True)
    inputs = InputOptions(accuracy=False)

    def run() -> None:
        loaded = [load_bench_model(file, file.stem, inputs, reference="model-0")[0] for file in files]
        context = Context(loaded, config, jobs=stage(loaded, None, folder, seed=0), folder=folder)
        for one in all_passes().values():
            one.weight(context)
            with_missing(loaded, one.expected(context), Findings())

    return run
