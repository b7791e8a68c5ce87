"""Batches of a split that lies on the device as uint8: shuffled, augmented and normalised without a loader process."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from kdbench.data.augment import apply_views, draw_views
from kdbench.errors import InputError
from kdbench.recipe import Augment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch

    from kdbench.data.dataset import Split

_NO_CHANGE = Augment()


class Batch(NamedTuple):
    """B samples: normalised images (B, C, H, W) float32, labels (B,) int64, their positions in the split (B,) int64."""

    images: torch.Tensor
    labels: torch.Tensor
    index: torch.Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody calls on a batch


class Batches:
    """The batches of one epoch of a resident split; iterate again for the next, after `set_epoch`.

    With `train` the samples come in an order, and changed by `augment` in a way, that depend on (seed, epoch) alone;
    the change of a sample does not depend on the batch size either. Without it they come in order and unchanged.

    `drop_last` leaves out a last batch that is not full. Without it, in training, a single left-over sample joins the
    batch before it: batch norm has no variance of one. (A `batch` of 1 is taken at its word.)

    Lightning takes it as it is: an iterable with a length. It is also its own `sampler`, which is where Lightning
    announces the epoch, also when it resumes; an iteration reads the epoch when its first batch is drawn.
    """

    batch_sampler: None = None  # Lightning asks for it of whatever has a sampler

    def __init__(
        self,
        split: Split,
        *,
        batch: int,
        mean: Sequence[float],
        std: Sequence[float],
        train: bool,
        augment: Augment = _NO_CHANGE,
        seed: int = 0,
        device: str | torch.device = "cpu",
        channels_last: bool = False,
        drop_last: bool = False,
    ) -> None:
        import torch

        assert batch > 0, batch
        channels = split.images.shape[1]
        if not len(mean) == len(std) == channels:
            raise InputError(
                f"{len(mean)} means and {len(std)} standard deviations for images of {channels} channels",
                "give data.mean and data.std one value per channel",
            )
        if min(std) <= 0:
            raise InputError(f"data.std is {tuple(std)}", "standard deviations are positive")
        if drop_last and len(split) < batch:
            raise InputError(
                f"{len(split)} training images make no full batch of {batch}", "choose a smaller training.batch"
            )
        self.batch = batch
        self.train = train
        self.augment = augment
        self.seed = seed
        self.epoch = 0
        self.channels_last = channels_last
        self.device = torch.device(device)
        self._images = torch.from_numpy(split.images).to(self.device)
        self._labels = torch.from_numpy(split.labels).to(self.device)
        # (x / 255 - mean) / std as x · scale + shift, in double precision until the end.
        self._scale = self._per_channel(1 / (255 * np.asarray(std, dtype=np.float64)))
        self._shift = self._per_channel(-np.asarray(mean, dtype=np.float64) / np.asarray(std, dtype=np.float64))
        self._bounds = batch_bounds(len(split), batch, drop_last=drop_last, join_single=train)

    def __len__(self) -> int:
        return len(self._bounds)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, of iterations that have not drawn a batch yet."""
        self.epoch = epoch

    @property
    def sampler(self) -> Self:
        """Itself: where Lightning looks for `set_epoch`."""
        return self

    def __iter__(self) -> Iterator[Batch]:
        return self._training() if self.train else self._evaluation()

    def _evaluation(self) -> Iterator[Batch]:
        import torch

        for start, stop in self._bounds:
            index = torch.arange(start, stop, device=self.device)
            yield Batch(self._normalised(self._images[start:stop]), self._labels[start:stop], index)

    def _training(self) -> Iterator[Batch]:
        import torch

        # Drawn on the CPU whatever the device: the same seed gives the same order and views everywhere.
        generator = torch.Generator().manual_seed(_epoch_seed(self.seed, self.epoch))
        count, pad = len(self._labels), self.augment.pad
        order = torch.randperm(count, generator=generator).to(self.device)
        views = None
        if pad or self.augment.flip:
            views = draw_views(count, pad, self.augment.flip, generator).to(self.device)
        for start, stop in self._bounds:
            index = order[start:stop]
            images = self._images.index_select(0, index)
            if views is not None:
                images = apply_views(images, views.of(index), pad)
            yield Batch(self._normalised(images), self._labels.index_select(0, index), index)

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        # In place, and laid out last: addcmul does it in one call but broadcasts slowly on a CPU.
        result = images.to(torch.float32).mul_(self._scale).add_(self._shift)
        return result.contiguous(memory_format=torch.channels_last) if self.channels_last else result

    def _per_channel(self, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> torch.Tensor:
        import torch

        return torch.from_numpy(values.astype(np.float32)).view(1, -1, 1, 1).to(self.device)


def batch_bounds(count: int, batch: int, *, drop_last: bool, join_single: bool) -> list[tuple[int, int]]:
    """Return first and past-the-last position of each batch of `count` samples.

    A left-over of fewer than `batch` samples is left out with `drop_last`; a single one is, with `join_single`,
    joined to the batch before it.
    """
    stops = list(range(batch, count + 1, batch))
    if count % batch and not drop_last:
        if join_single and count % batch == 1 and stops:
            stops.pop()
        stops.append(count)
    return list(zip([0, *stops], stops, strict=False))


def _epoch_seed(seed: int, epoch: int) -> int:
    """Mix seed and epoch into 63 bits, so that neighbouring ones have unrelated streams."""
    words = np.random.SeedSequence([seed % 2**64, epoch]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))
