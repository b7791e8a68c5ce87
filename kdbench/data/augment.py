"""Random changes of training images, a whole batch at a time, on the device where the images are.

The change of one sample is a *view*: where the crop of the zero-padded image begins, and whether it is mirrored. Views
are numbered, and the view of a sample in an epoch is a hash of seed, epoch and sample (`kdbench.data.counter_rng`). If
there are few views, or a chosen number, each has a *slot*, so that a teacher's output can be kept by sample and slot.

Mixed images are torchvision's MixUp (Zhang et al. 2018, arXiv:1710.09412) and CutMix (Yun et al. 2019,
arXiv:1905.04899), with random numbers keyed to (seed, epoch, batch). Labels become a distribution over the classes, and
the share of the second image comes from a symmetric Beta distribution.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from kdbench.data.counter_rng import below, key_of, words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from kdbench.recipe import Augment

    Numbers = npt.NDArray[np.int64]
    from collections.abc import Callable

# As many views as this are few enough to be all kept, where nobody chose a number.
FEW_VIEWS = 16
_BANK, _ORDER = 0x6B616E6B, 0x6F726472  # keys of their own: a bank is the same for every seed


class Views(NamedTuple):
    """Views of B samples: first row and column of the crop (B,) int64 in 0..2·pad, mirrored or not (B,) bool."""

    row: torch.Tensor
    column: torch.Tensor
    mirrored: torch.Tensor

    def of(self, index: torch.Tensor) -> Views:
        """Return the views of the samples at `index` (B,)."""
        return Views(*(field.index_select(0, index) for field in self))

    def to(self, device: torch.device) -> Views:
        """Return the views on `device`."""
        return Views(*(field.to(device) for field in self))


def slot_count(augment: Augment) -> int | None:
    """Return how many views each image comes in, or None where they are too many to be kept."""
    total = augment.distinct_views
    if augment.views is not None:
        return min(augment.views, total)
    return total if total <= FEW_VIEWS else None


def slots_of_epoch(augment: Augment, samples: Numbers, seed: int, epoch: int) -> Numbers | None:
    """Return the slot (N,) of the view that each of `samples` (N,) shows in an epoch; None where views have none.

    A chosen number of views is gone through in turn, from a start of each sample's own, so that none is shown twice
    before all are shown once; otherwise every epoch draws anew.
    """
    count = slot_count(augment)
    if count is None:
        return None
    if augment.views is None:
        return below(count, words(key_of(seed, epoch), samples))
    return (below(count, words(key_of(_ORDER, seed), samples)) + epoch) % count


def views_in_slots(augment: Augment, samples: Numbers, slots: Numbers | int) -> Numbers:
    """Return the number (N,) of the view that each of `samples` has in its slot; no sample has a view twice."""
    total, count = augment.distinct_views, slot_count(augment)
    assert count is not None, "views without slots"
    if count == total:
        return samples * 0 + slots
    # Steps that share no divisor with the number of views visit each once before any again; about the golden section
    # of it keeps the few that are taken apart.
    step = next(s for s in range(int(0.618 * total), total + 1) if math.gcd(s, total) == 1)
    return (below(total, words(key_of(_BANK), samples)) + slots * step) % total


def views_of_epoch(augment: Augment, samples: Numbers, seed: int, epoch: int) -> Numbers:
    """Return the number (N,) of the view that each of `samples` shows in an epoch, where views have no slots."""
    return below(augment.distinct_views, words(key_of(seed, epoch), samples))


def decoded(numbers: Numbers, augment: Augment) -> Views:
    """Return the views of those numbers: first half as the image is, second half mirrored; rows, then columns."""
    import torch

    side = 2 * augment.pad + 1
    rest = torch.from_numpy(numbers)
    return Views((rest % side**2) // side, rest % side, rest >= side**2)


def apply_views(images: torch.Tensor, views: Views, pad: int) -> torch.Tensor:
    """Return (B, C, H, W) uint8 `images`, each zero-padded by `pad`, cropped back to H × W and mirrored by its view.

    Crop and mirror are one gather over the flattened padded image: on a CPU that is faster than indexing
    an unfolded view, and than `take`.
    """
    import torch
    from torch.nn import functional

    batch, channels, height, width = images.shape
    padded = functional.pad(images, (pad, pad, pad, pad))
    column = torch.arange(width, device=images.device)
    column = torch.where(views.mirrored[:, None], width - 1 - column, column) + views.column[:, None]
    row = torch.arange(height, device=images.device) + views.row[:, None]
    # (B, H, W) positions within one padded channel, the same for all channels.
    position = row[:, :, None] * (width + 2 * pad) + column[:, None, :]
    position = position.view(batch, 1, height * width).expand(batch, channels, height * width)
    return padded.reshape(batch, channels, -1).gather(2, position).view(batch, channels, height, width)


class Mixing:
    """Mixes whole batches as `augment` says: the same batch of the same epoch always in the same way."""

    def __init__(self, augment: Augment, classes: int, seed: int) -> None:
        from torchvision.transforms import v2

        self._seed = seed
        self._ways: list[Callable[..., tuple[torch.Tensor, torch.Tensor]]] = [
            way(alpha=alpha, num_classes=classes)
            for way, alpha in ((v2.MixUp, augment.mixup), (v2.CutMix, augment.cutmix))
            if alpha
        ]

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, epoch: int, number: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images (B, C, H, W), each mixed with its neighbour's in the batch, and labels (B, classes) float."""
        import torch

        key = key_of(self._seed, epoch, number)
        # torchvision draws from the CPU's global generator: it is lent to it, and given back as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key)
            return self._ways[(key >> 32) % len(self._ways)](images, labels)
