"""Stored logits: a teacher that is an array of logits for samples of the data set, computed elsewhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from kdbench.data.batches import Batch
from kdbench.distill.method import TeacherOutput
from kdbench.distill.teaching.onnx_network import OpaqueNetwork
from kdbench.errors import InputError
from kdbench.files import archives, storage
from kdbench.machine.loading import require_loadable

_FORM = "save it with numpy.savez(FILE, logits=…, samples=…): logits (M, classes), and the set's sample numbers (M,)"
_MAX_SHOWN = 5
_ROUNDING = 1e-2  # of a sum of probabilities in float16


class StoredLogits(OpaqueNetwork):
    """The stand-in for the network of a teacher that is a file of logits: no layers, never called."""

    why = "a teacher that is a file of logits has no layers whose features could be used"

    def forward(self, inputs: Tensor) -> Tensor:  # noqa: ARG002 - as every network
        """Raise InputError: there is no network."""
        raise InputError("a teacher that is a file of logits has no network, which the method calls", self.hint)


class ArrayTeacher:
    """The logits (N, C) of a training part's samples, by their position."""

    kind: Literal["kept"] = "kept"
    prepared_s = 0.0

    def __init__(self, logits: Tensor) -> None:
        self._logits = logits

    def to(self, device: torch.device) -> None:
        """Move the logits to `device`."""
        self._logits = self._logits.to(device)

    def predict(self, batch: Batch, layers: Sequence[str] = (), *, logits: bool = True) -> TeacherOutput:  # noqa: ARG002
        """Return the logits of the batch's samples, float32."""
        assert not layers, "an array holds no features"
        return TeacherOutput(self._logits.index_select(0, batch.position.to(self._logits.device)))


def load_logits(path: Path, samples: Any, outputs: int, *, all_samples: Any = None) -> Tensor:
    """Return the logits (N, outputs), float32, of the data set's samples with the numbers `samples` (N,).

    The file is a .npz with `logits` and `samples`, or a .npy with the logits of all samples of the training part, in
    the set's order; `all_samples` (M,) are their numbers in this order, by default from 0. Raises InputError for a file
    that holds something else, or lacks some of the samples.
    """
    logits, numbers = _read(path)
    if numbers is None:
        numbers = np.arange(len(logits)) if all_samples is None else all_samples
        if len(logits) != len(numbers):
            message = f"{path} holds logits of {len(logits)} samples, but the data set's training part has"
            raise InputError(f"{message} {len(numbers)}", f"give only the rows of the training part, or {_FORM}")
    elif all_samples is not None and _are_positions(numbers, all_samples):
        message = f"the samples of {path} count from 0 to {len(numbers) - 1}, but the data set's own numbers have gaps"
        raise InputError(message, "save the logits alone, in the order of the training part: numpy.save(FILE, logits)")
    if logits.ndim != 2 or logits.dtype.kind != "f" or numbers.shape != logits.shape[:1] or not logits.size:
        shapes = f"logits {logits.shape} {logits.dtype} and samples {numbers.shape}"
        raise InputError(f"{path} holds {shapes}, not (M, classes) floats and (M,)", _FORM)
    if logits.shape[1] != outputs:
        raise InputError(f"{path} holds logits of {logits.shape[1]} classes, but the data has {outputs}", _FORM)
    if numbers.dtype.kind not in "iu" or len(np.unique(numbers)) != len(numbers):
        raise InputError(f"{path}: samples must be different integers", _FORM)
    order = np.argsort(numbers, kind="stable")
    place = np.searchsorted(numbers, samples, sorter=order)
    row = order[np.minimum(place, len(order) - 1)]
    missing = samples[numbers[row] != samples]
    if len(missing):
        listed = ", ".join(map(str, missing[:_MAX_SHOWN])) + (", …" if len(missing) > _MAX_SHOWN else "")
        message = f"{path} has no logits for {len(missing)} of {len(samples)} training samples: {listed}"
        hint = "samples are numbered from 0 in the order of the data set's training part; those of digits as in sklearn"
        raise InputError(message, hint)
    chosen = logits[row].astype(np.float32)
    if not np.isfinite(chosen).all():
        raise InputError(f"{path} holds NaN or infinite logits", "compute them again, or leave those samples out")
    if outputs > 1 and (chosen >= 0).all() and np.abs(chosen.sum(axis=1) - 1).max() < _ROUNDING:
        message = f"{path} holds probabilities: its rows are positive and add up to 1"
        raise InputError(message, "save the logits, or the logarithms of the probabilities")
    return torch.from_numpy(chosen)


def _are_positions(numbers: Any, all_samples: Any) -> bool:
    """Return whether `numbers` are 0 to M − 1 where the M samples of the training part have others."""
    positions = np.arange(len(all_samples))
    return np.array_equal(np.sort(numbers, axis=None), positions) and not np.array_equal(
        np.sort(all_samples), positions
    )


def _read(path: Path) -> tuple[Any, Any]:
    try:
        storage.require_file(path)
        require_loadable(path, "keep fewer samples in it")
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content, None
        with content as archive:
            missing = {"logits", "samples"} - set(archive.files)
            if missing:
                raise InputError(f"{path} has no array {min(missing)!r}; it has {', '.join(archive.files)}", _FORM)
            return archive["logits"], archive["samples"]
    except archives.array_errors() as error:
        raise InputError(f"{path} is not a readable NumPy array: {error}", _FORM) from error
