"""Teachers during a student's training: live networks, or their logits computed once and cached.

Both are frozen: they are never trained or saved. `kind` names them in the record; `prepared_s` are the seconds of their
preparation before the training.
"""

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from kdbench import units
from kdbench.data.augment import repeated_views
from kdbench.data.batches import Batch, Batches
from kdbench.distill.method import TeacherOutput
from kdbench.distill.teaching.stored_logits import ArrayTeacher
from kdbench.distill.training.allocator import freed_memory_kept
from kdbench.distill.training.devices import autocast, evaluation_batch
from kdbench.errors import InputError, StorageError
from kdbench.files import archives, storage
from kdbench.models.features.extractor import FeatureExtractor
from kdbench.processes.locks import locked
from kdbench.progress import Progress


def freeze(network: nn.Module) -> nn.Module:
    """Put a teacher in evaluation mode, without gradients of its weights, and return it."""
    network.eval()  # its result is not used: a network may override `train` and return anything
    return network.requires_grad_(requires_grad=False)


class LiveTeacher:
    """A teacher that runs on the student's images at every step.

    Not an `nn.Module`, because as a submodule it would switch to training mode with the student, and its weights would
    go to the optimiser and into checkpoints. It stays in evaluation mode also where a method holds it as a submodule.
    """

    kind: Literal["live"] = "live"
    prepared_s = 0.0

    def __init__(self, network: nn.Module, *, channels_last: bool = False) -> None:
        self.network = freeze(network)
        if channels_last:
            self.network.to(memory_format=torch.channels_last)
        self._extractor = FeatureExtractor(self.network)
        self._modules = tuple(self.network.modules())

    def to(self, device: torch.device) -> None:
        """Move the teacher's weights to `device`."""
        self.network.to(device)

    def predict(self, batch: Batch, layers: Sequence[str] = (), *, logits: bool = True) -> TeacherOutput:
        """Return the teacher's logits for the batch's images, and its features of `layers`, without a graph.

        Without `logits` the teacher runs only up to the last of `layers`, except for the first time.
        """
        if any(module.training for module in self._modules):
            self.network.eval()
        with torch.inference_mode():
            output, features = self._extractor.run(batch.inputs, layers, output=logits)
        # A copy, because the student's backward pass may save it, which inference tensors do not permit.
        return TeacherOutput(None if output is None else output.clone(), features)


Type = np.dtype[Any]

FORMAT = 2  # of the table and of what is hashed
_DEVICE_SHARE = 0.25  # of a GPU's free memory that the table may take


class CachedTeacher:
    """A table of a teacher's logits by sample and slot, (N, K, C); no features, no logits of other images.

    It is in float16, or in float32 for predicted numbers. `prepared_s` is 0 if the table existed.
    """

    kind: Literal["kept"] = "kept"

    def __init__(self, table: Tensor, prepared_s: float = 0.0) -> None:
        self.prepared_s = prepared_s
        self._slots = table.shape[1]
        self._rows = table.view(-1, table.shape[2])

    def to(self, device: torch.device) -> None:
        """Move the table to `device`, if it is small compared with the free memory there."""
        if device.type == "cuda" and self._rows.nbytes <= _DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]:
            self._rows = self._rows.to(device)

    def predict(self, batch: Batch, layers: Sequence[str] = (), *, logits: bool = True) -> TeacherOutput:  # noqa: ARG002
        """Return the logits of the batch's samples in their slots, float32."""
        assert not layers, "cached logits hold no features"
        assert batch.slot is not None, "views without slots cannot be looked up"
        row = (batch.position * self._slots + batch.slot).to(self._rows.device)
        return TeacherOutput(self._rows.index_select(0, row).to(batch.inputs.device, torch.float32))


Teacher = LiveTeacher | CachedTeacher | ArrayTeacher


def cached_teacher(
    folder: Path,
    network: nn.Module,
    teacher: str,
    batches: Batches,
    *,
    precision: str,
    images: str,
    progress: Progress,
    exact: bool = False,
) -> CachedTeacher:
    """Return the cached teacher for the images of `batches`, after filling its table in `folder` if there is none.

    A table serves all students, seeds and sweeps that use the same images. It is named by a hash of what its logits
    depend on: the teacher's weights, the images, their normalisation, views and mixtures, and the precision. Two runs
    that need the same table wait for each other; a killed run leaves none behind. An `exact` table is in float32:
    rounding to float16 is small against the differences of logits, but not against the error of a large predicted
    number.

    `teacher` is a hash of the network and its weights, `images` one of the images. The network is moved to the batches'
    device to fill the table. Raises StorageError where the table cannot be written, and InputError for logits that
    float16 cannot hold.
    """
    slots = batches.slots
    assert slots is not None, "views without slots cannot be cached"
    contents = {
        "format": FORMAT,
        "teacher": teacher,
        "images": images,
        "normalisation": batches.normalisation,
        "views": repeated_views(batches.augment),
        "precision": precision,
        # Both change the last bits.
        "device": batches.device.type,
        "channels_last": batches.channels_last,
    }
    dtype = np.dtype(np.float32 if exact else np.float16)
    key = storage.content_hash({**contents, "dtype": dtype.name} if exact else contents)
    path = storage.make_folder(folder) / f"{key}.npy"
    seconds = 0.0
    with locked(folder / f"{key}.lock"):
        table = _open_table(path, len(batches.labels), slots, dtype)
        if table is None:
            began = time.perf_counter()
            _fill(path, network, batches, slots, precision, progress, dtype)
            storage.write_text(_checksum(path), storage.sha256(path))
            table = _open_table(path, len(batches.labels), slots, dtype)
            seconds = time.perf_counter() - began
    assert table is not None, f"{path} was just written"
    return CachedTeacher(torch.from_numpy(table), seconds)


def _open_table(path: Path, samples: int, slots: int, dtype: Type) -> Any:
    """Return the table at `path`, memory-mapped; None if there is none, or one that changed since it was written."""
    try:
        if storage.read_text(_checksum(path)) != storage.sha256(path):
            return None
        # Copy on write: torch needs writable memory, although nothing writes.
        table = np.load(path, mmap_mode="c", allow_pickle=False)
    except archives.array_errors():
        return None
    return table if table.dtype == dtype and table.shape[:2] == (samples, slots) and table.ndim == 3 else None


def _checksum(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _fill(
    path: Path, network: nn.Module, batches: Batches, slots: int, precision: str, progress: Progress, dtype: Type
) -> None:
    network = freeze(network).to(batches.device)
    if batches.channels_last:
        network = network.to(memory_format=torch.channels_last)
    extractor = FeatureExtractor(network)
    with storage.replacing(path) as temporary:
        table = None
        with torch.inference_mode(), autocast(batches.device, precision), freed_memory_kept():
            for slot in range(slots):
                progress.step(slot, slots, f"teacher's logits, view {slot + 1} of {slots}")
                for batch in batches.in_slot(slot, evaluation_batch(batches.device, batches.batch)):
                    logits = _as_dtype(extractor.run(batch.inputs)[0], dtype)
                    if table is None:
                        table = _new_table(temporary, (len(batches.labels), slots, logits.shape[1]), dtype)
                    start = int(batch.position[0])
                    table[start : start + len(logits), slot] = logits
        progress.step(slots, slots, "teacher's logits")  # the training, which follows, has a pace of its own
        assert table is not None, "no images"
        table.flush()


def _as_dtype(logits: Tensor, dtype: Type) -> Any:
    values = logits.float().cpu()
    if dtype == np.float32:
        return values.numpy()
    # NaN passes: the loss detects it. -inf is the logit of a class that the teacher lacks.
    largest = values.masked_fill(values.isneginf(), 0).abs().max()
    if largest > torch.finfo(torch.float16).max:
        message = f"the teacher's logits reach {float(largest):.3g}, beyond the range of float16"
        raise InputError(message, 'set cache = "off" for its students')
    return values.half().numpy()


def _new_table(path: Path, shape: tuple[int, int, int], dtype: Type) -> Any:
    size, free = dtype.itemsize * shape[0] * shape[1] * shape[2], shutil.disk_usage(path.parent).free
    if size > free:
        message = f"the disk is full: the teacher's logits need {units.size(size)}, {units.size(free)} are free"
        hint = 'free some space, choose fewer data.augment.views, another folder (KDBENCH_CACHE), or cache = "off"'
        raise StorageError(message, hint)
    table = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate"):
        # A disk that fills up later is then an error here, not a signal from the memory map.
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return table
