"""The end of every measuring pass: record, samples and report written, and a word where numbers were no numbers."""

from collections.abc import Mapping, Sequence

import numpy as np

from kdbench import report
from kdbench.errors import DivergedError, MeasurementError
from kdbench.judge.readiness import judge
from kdbench.judge.target import Target
from kdbench.results.records import RunRecord
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import write_samples
from kdbench.results.verdicts import write_verdicts

_SIGNS_OF_LIFE = {"top1", "latency_p50_ns"}


def write_results(
    record: RunRecord, samples: Mapping[str, np.ndarray], folder: RunFolder, targets: Sequence[Target] = ()
) -> None:
    """Write the raw samples, the record, its verdict on each target and its reports to `folder`.

    The reports are for a terminal's reader and a browser's.
    """
    write_samples(folder.samples, samples)
    record.write(folder.record)
    verdicts = tuple(judge(record, target) for target in targets)
    write_verdicts(verdicts, folder)
    report.write(report.Content(record, verdicts, samples), folder.path, ("md", "html"))


def raise_on_failed_models(record: RunRecord, folder: RunFolder) -> None:
    """Fail, after everything is written, for a model whose logits were no numbers or that could not be run at all.

    Raises DivergedError or MeasurementError, which say where the rest of the results is.
    """
    for card in record.models:
        found = [m for m in record.measurements if m.model == card.id and m.metric in _SIGNS_OF_LIFE]
        hint = f"what else was measured is in {folder.path}"
        for finding in found:
            # A latency is invalid too, of a server that cannot keep up: that is a result.
            if finding.metric == "top1" and finding.status == "invalid":
                raise DivergedError(
                    f"{card.id}: no accuracy: {finding.reason}", f"check its weights and the preprocessing; {hint}"
                )
        if found and all(finding.status in {"error", "unavailable"} for finding in found):
            broken = next((finding for finding in found if finding.status == "error"), None)
            if broken is not None:
                raise MeasurementError(f"{card.id} could not be run: {broken.reason}", hint)
