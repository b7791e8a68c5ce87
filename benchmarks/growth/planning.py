"""What happens before anything runs: the jobs of a large recipe, and the numbers expected of many model files."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.models import linear
from kdbench.measure.context import Context, all_passes
from kdbench.measure.harness import with_missing
from kdbench.measure.staging import stage
from kdbench.recipe import InputOptions, Measure
from kdbench.recipe.loading import recipe_of
from kdbench.results.findings import Findings
from kdbench.workflows.files.model_files import load_bench_model
from kdbench.workflows.study.plan import plan


def recipe(points: int) -> Callable[[], object]:
    """Return the planning of a recipe with a sweep of that many points: every job with its key."""
    sweep = {
        "training.optimizer.lr": [step / 1e6 for step in range(1, points // 5 + 1)],
        "training.epochs": [*range(1, 6)],
    }
    student = {"name": "student", "model": "mlp", "sweep": sweep}
    teacher = {"name": "teacher", "model": "mlp"}
    content = {"name": "growth", "data": {"name": "digits"}, "teacher": [teacher], "student": [student]}
    return lambda: [job.key(recipe, "") for recipe in (recipe_of(content),) for job in plan(recipe)]


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
