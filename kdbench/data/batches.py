"""Batches of a split that is on the device: shuffled, augmented and normalised there, without a loader process."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from kdbench.data import augment as augmenting
from kdbench.data import mixing
from kdbench.data.normalising import Normaliser
from kdbench.data.selection import key_of
from kdbench.data.transforms import Transforming
from kdbench.errors import InputError
from kdbench.recipe import Augment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from kdbench.data.augment import Numbers, Views
    from kdbench.data.dataset import Split
    from kdbench.data.mixing import Mixtures


class BatchPart(NamedTuple):
    """The part of a batch that one of several processes computes: positions `start` to `stop` (exclusive) of the order.

    `counted` is the number of samples that count for this process. The mean of the batch is the mean over all processes
    of `weight` times the mean of the process's part.
    """

    start: int
    stop: int
    counted: int
    weight: float


def batch_bounds(count: int, batch: int, *, drop_last: bool, join_single: bool) -> list[tuple[int, int]]:
    """Return the first and past-the-last position of each batch of `count` samples.

    `drop_last` drops a last batch of fewer than `batch` samples; `join_single` joins a last batch of one sample to the
    batch before it.
    """
    stops = list(range(batch, count + 1, batch))
    if count % batch and not drop_last:
        if join_single and count % batch == 1 and stops:
            stops.pop()
        stops.append(count)
    return list(zip([0, *stops], stops, strict=False))


def part_of(start: int, stop: int, rank: int, processes: int) -> BatchPart:
    """Return the part of the batch `start` to `stop` (exclusive) for process `rank` of `processes`.

    Parts differ in size by one sample at most. A batch with fewer than two samples per process is computed by all
    processes and counted by the first, because batch norm has no variance for one sample. Joining it to another batch
    instead would make the training depend on the number of processes.
    """
    size = stop - start
    if processes > 1 and size < 2 * processes:
        counted = size if rank == 0 else 0
    else:
        start, stop = start + size * rank // processes, start + size * (rank + 1) // processes
        counted = stop - start
    return BatchPart(start, stop, counted, counted * processes / size)


class Batch(NamedTuple):
    """B samples: normalised inputs (B, …) float32, or token ids (B, T) int64; and labels (B,) int64.

    `position` (B,) int64 are the samples' positions in the split, `sample` (B,) int64 their numbers in the data set,
    which no split or subset changes. If images were mixed, the labels are distributions (B, classes) float32. `slot`
    (B,) int64 is the slot of each image's view, if views have slots (`kdbench.data.augment`). `mean_weight`, a scalar
    float32, is the mean class weight of the labels of the whole update that the batch belongs to, if classes have
    weights.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    position: torch.Tensor
    sample: torch.Tensor
    slot: torch.Tensor | None = None
    mean_weight: torch.Tensor | None = None

    def of(self, rows: slice) -> Batch:
        """Return the samples in `rows`."""
        slot = None if self.slot is None else self.slot[rows]
        inputs, labels, position, sample = (field[rows] for field in self[:4])
        return Batch(inputs, labels, position, sample, slot, self.mean_weight)


class _Shown(NamedTuple):
    """How the samples of an epoch are shown: views and slots (N,); mixtures and the views of their second images."""

    views: Views
    slot: torch.Tensor | None = None
    mixtures: Mixtures | None = None
    second_views: Views | None = None


class Batches:
    """The batches of one epoch of a resident split; for the next epoch call `set_epoch` and iterate again.

    With `train` the order depends only on (seed, epoch), and the view of a sample only on (seed, epoch, sample). Mixed
    images also depend on the batch or, if views have slots, on the other samples; they need the number of `classes`.
    Without `train` samples come in order, unchanged.

    `drop_last` drops a last batch that is not full. Without it, in training, a single last sample joins the previous
    batch, because batch norm has no variance for one sample (unless `batch` is 1).

    Inputs are normalised along `channel_axis`: uint8 as (x / 255 - mean) / std, float32 as (x - mean) / std. Token ids
    stay as they are. Crops of floats are padded with the mean.

    An iteration reads the epoch when its first batch is drawn.

    With `class_weights` every batch has the mean weight of the labels of its update, of `accumulate` batches.

    `shared` returns the batches of one of several processes; `parts` says which samples of each batch it computes.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch: int,
        mean: Sequence[float],
        std: Sequence[float],
        train: bool,
        augment: Augment = Augment(),  # noqa: B008 - frozen
        seed: int = 0,
        device: str | torch.device = "cpu",
        channel_axis: int = 1,
        channels_last: bool = False,
        drop_last: bool = False,
        classes: int | None = None,
        class_weights: Sequence[float] | None = None,
        accumulate: int = 1,
    ) -> None:
        import torch

        assert batch > 0, batch
        if drop_last and len(split) < batch:
            message = f"{len(split)} training images make no full batch of {batch}"
            raise InputError(message, "choose a smaller training.batch")
        self.batch = batch
        self.train = train
        self.augment = augment
        self.seed = seed
        self.epoch = 0
        self.device = torch.device(device)
        form: dict[str, Any] = {"channel_axis": channel_axis, "channels_last": channels_last, "device": self.device}
        self._normalised = Normaliser(split, mean, std, **form)
        self.channels_last = self._normalised.channels_last
        self.labels = split.labels
        axis = {} if channel_axis == 1 else {"channel_axis": channel_axis}  # keys of stored outputs omit that of images
        self.normalisation: dict[str, Any] = {"mean": tuple(mean), "std": tuple(std), **axis}
        self._samples = split.samples
        self._classes = classes
        self._mixing = None
        if train and augment.mixes:
            assert classes is not None, "mixed labels are distributions over a known number of classes"
            self._mixing = mixing.BatchMixing(augment, classes, seed) if augment.mixes_every_step else None
        transform = augment.transform if train else None
        self._transform = None if transform is None else Transforming(transform, seed)
        self._inputs = torch.from_numpy(split.inputs).to(self.device)
        self._labels = torch.from_numpy(split.labels).to(self.device)
        self._numbers = torch.from_numpy(split.samples).to(self.device)
        self._class_weights = None
        if class_weights is not None:
            self._class_weights = torch.tensor(tuple(class_weights), dtype=torch.float64, device=self.device)
        self._accumulate = accumulate
        self._bounds = batch_bounds(len(split), batch, drop_last=drop_last, join_single=train)
        self.parts = [part_of(start, stop, 0, 1) for start, stop in self._bounds]

    def __len__(self) -> int:
        return len(self._bounds)

    @property
    def sizes(self) -> list[int]:
        """The number of samples of each batch, over all processes."""
        return [stop - start for start, stop in self._bounds]

    def shared(self, rank: int, processes: int) -> Self:
        """Return the batches of process `rank` of `processes`: the same order, views and mixtures."""
        batches = copy.copy(self)
        batches.parts = [part_of(start, stop, rank, processes) for start, stop in self._bounds]
        return batches

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, from 0, of iterations that have not drawn a batch yet."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        import torch

        if self.train:
            yield from self._training()
            return
        for start, stop, *_ in self.parts:
            position, rows = torch.arange(start, stop, device=self.device), slice(start, stop)
            yield Batch(self._normalised(self._inputs[rows]), self._labels[rows], position, self._numbers[rows])

    def example(self) -> torch.Tensor:
        """Return the first sample as it is stored, normalised: (1, …)."""
        return self._normalised(self._inputs[:1])

    @property
    def slots(self) -> int | None:
        """The number of views of each image, if they have slots; see `kdbench.data.augment`."""
        return augmenting.slot_count(self.augment)

    def in_slot(self, slot: int, batch: int) -> Iterator[Batch]:
        """Yield every sample in order, in its view of that slot: for teacher outputs computed in advance.

        Images are mixed if their mixtures have slots; otherwise they come unmixed.
        """
        import torch

        shown = self._in_slots(np.full(len(self._labels), slot, dtype=np.int64))
        for start, stop in batch_bounds(len(self._labels), batch, drop_last=False, join_single=False):
            yield self._shown(shown, torch.arange(start, stop, device=self.device))

    def _training(self) -> Iterator[Batch]:
        import torch

        # Drawn on the CPU, so that the same seed gives the same order and views on every device.
        generator = torch.Generator().manual_seed(key_of(self.seed, self.epoch) >> 1)
        order = torch.randperm(len(self._labels), generator=generator).to(self.device)
        slots = augmenting.slots_of_epoch(self.augment, self._samples, self.seed, self.epoch)
        if slots is None:
            numbers = augmenting.views_of_epoch(self.augment, self._samples, self.seed, self.epoch)
            shown = _Shown(augmenting.decode_views(numbers, self.augment).to(self.device))
        else:
            shown = self._in_slots(slots)
        for number, (bounds, part) in enumerate(zip(self._bounds, self.parts, strict=True)):
            # Every process computes the whole of a mixed batch, because its images are mixed with those of other
            # processes, and of a transformed batch, because its random numbers are drawn per batch.
            whole = self._mixing is not None or self._transform is not None
            start, stop = bounds if whole else part[:2]
            batch = self._shown(shown, order[start:stop], number)
            if whole:
                batch = batch.of(slice(part.start - start, part.stop - start))
            weight = None if self._class_weights is None else self._mean_weight(order, number)
            yield batch._replace(mean_weight=weight)

    def _in_slots(self, slots: Numbers) -> _Shown:
        """Return how the samples are shown in these slots (N,)."""
        import torch

        augment, samples = self.augment, self._samples
        views = augmenting.decode_views(augmenting.views_in_slots(augment, samples, slots), augment).to(self.device)
        slot = torch.from_numpy(slots).to(self.device)
        if not augment.mixes_in_slots:
            return _Shown(views, slot)
        mixtures = mixing.mixtures_in_slots(augment, samples, slots)
        numbers = augmenting.views_in_slots(augment, samples[mixtures.position.numpy()], slots)
        second_views = augmenting.decode_views(numbers, augment).to(self.device)
        return _Shown(views, slot, mixtures.to(self.device), second_views)

    def _shown(self, shown: _Shown, position: torch.Tensor, number: int | None = None) -> Batch:
        """Return the samples at `position` (B,) as they are shown; those of batch `number` transformed and mixed."""
        samples = self._inputs.index_select(0, position)
        if self._transform is not None and number is not None:
            samples = self._transform(samples, self.epoch, number)
        inputs = self._inputs_at(samples, shown.views.of(position))
        labels = self._labels.index_select(0, position)
        if shown.mixtures is not None:
            assert shown.second_views is not None
            assert self._classes is not None
            mixtures = shown.mixtures.of(position)
            second = self._inputs_at(self._inputs.index_select(0, mixtures.position), shown.second_views.of(position))
            inputs, share = mixing.mix(inputs, second, mixtures)
            labels = mixing.mixed_labels(labels, self._labels.index_select(0, mixtures.position), share, self._classes)
        elif self._mixing is not None and number is not None:
            inputs, labels = self._mixing(inputs, labels, self.epoch, number)
        slot = None if shown.slot is None else shown.slot.index_select(0, position)
        return Batch(inputs, labels, position, self._numbers.index_select(0, position), slot)

    def _mean_weight(self, order: torch.Tensor, number: int) -> torch.Tensor:
        """Return the mean class weight over all batches of the update of batch `number`, the same in every process."""
        assert self._class_weights is not None
        first = number - number % self._accumulate
        last = min(first + self._accumulate, len(self._bounds)) - 1
        labels = self._labels.index_select(0, order[self._bounds[first][0] : self._bounds[last][1]])
        return self._class_weights.index_select(0, labels).mean().float()

    def _inputs_at(self, samples: torch.Tensor, views: Views) -> torch.Tensor:
        """Return samples in their views, normalised. Floats are normalised before padding, so that 0 is the mean."""
        if self.augment.distinct_views == 1:
            return self._normalised(samples)
        if not samples.is_floating_point():
            return self._normalised(augmenting.apply_views(samples, views, self.augment.pad))
        viewed = augmenting.apply_views(self._normalised(samples).contiguous(), views, self.augment.pad)
        return self._normalised.formatted(viewed)
