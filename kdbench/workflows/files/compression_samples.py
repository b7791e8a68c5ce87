"""The samples that compression of a model needs: those that it calibrates on, and those held out to score files."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdbench.compress import Calibration
from kdbench.compress.calibration import CalibrationChoice, labelled_sha256
from kdbench.compress.held_out import HeldOut, Run
from kdbench.data.reading.images import fit_images
from kdbench.errors import InputError
from kdbench.evaluate.predictions import label_ranks, not_finite, with_finite_logits
from kdbench.measure.bench_model import BenchModel, TestSet
from kdbench.measure.staging import stage
from kdbench.processes import temporary
from kdbench.results.cards import CalibrationSet
from kdbench.results.preprocessing import Geometry
from kdbench.worker.inputs import Inputs, prepare
from kdbench.worker.jobs import JobModel

if TYPE_CHECKING:
    from kdbench.data import Split


def calibration_of(
    model: BenchModel, training: "Split", choice: CalibrationChoice, data: str, geometry: Geometry | None = None
) -> Calibration:
    """Return the chosen samples of a training part as the model takes them; `data` is the name of the data set.

    `geometry` is the model's, if it differs from that of `training`.
    """
    samples = choice.of(training, model.facts.fixed_batch)
    images, job = _staged(model, samples, geometry)
    return Calibration.of(prepare(images, job), samples, choice, data)


def held_out_of(
    model: BenchModel,
    samples: "Split",
    choice: CalibrationChoice,
    data: str,
    geometry: Geometry | None = None,
    *,
    seen: bool,
) -> HeldOut:
    """Return a score of files of `model` on labelled samples that `choice` held out; parameters as `calibration_of`.

    `seen` says that the model may have been trained on them. Raises InputError for a regression, which has no top-1.
    """
    from kdbench.worker.probes.logits import batch_size, class_scores, evaluate  # loads onnxruntime

    require_top1(samples, data)
    images, job = _staged(model, samples, geometry)
    inputs = Inputs()

    def correct(run: Run) -> NDArray[np.bool_]:
        try:
            outputs = evaluate(run, inputs.of(images, job), job.fixed_batch, batch_size(job), lambda _: None)
            scores = class_scores(outputs, job)
        except ValueError as error:
            raise InputError(f"{model.id}: {error}", "name the output that holds the logits: --output") from error
        if model.facts.output.scored_as == "logits":
            scores = with_finite_logits(scores)
        if model.class_map is not None:
            scores = model.class_map.arranged(scores, model.facts.output.scored_as, model.id)
        if (reason := not_finite(scores)) is not None:
            raise InputError(f"{model.id}: {reason} on held-out samples", "check its weights and the preprocessing")
        return np.asarray(label_ranks(scores, samples.labels) == 0)

    known = CalibrationSet(data=data, count=len(samples), seed=choice.seed, sha256=labelled_sha256(samples))
    return HeldOut(correct, known, seen)


def require_top1(samples: "Split", data: str) -> None:
    """Raise InputError for samples of a regression, which have no accuracy."""
    if samples.labels.ndim > 1:
        message = f"max_drop is in points of top-1, but {data} is a regression, which has no top-1"
        raise InputError(message, "set min_snr_db instead, or leave it out")


def _staged(model: BenchModel, samples: "Split", geometry: Geometry | None) -> tuple[NDArray[Any], JobModel]:
    """Return samples in the geometry of `model`, and the job that describes how they become its inputs."""
    fitted = {} if geometry is None else {geometry: fit_images(samples.inputs, geometry)}
    test = TestSet(samples.inputs, samples.labels, in_geometry=fitted)
    with temporary.folder() as folder:
        return test.images_of(model), stage([model], test, folder, seed=0)[model.id]
