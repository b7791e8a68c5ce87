"""Random augmentation of training images, a whole batch at a time, on the device that holds the images.

The augmentation of one sample is a *view*: where the crop of the zero-padded image begins, and whether it is mirrored.
Views are numbered, and the view of a sample in an epoch is a hash of seed, epoch and sample (`kdbench.data.selection`).
If there are few views, or the recipe sets their number, each has a *slot*, so that a teacher's output can be stored by
sample and slot. Mixed images are in `kdbench.data.mixing`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from kdbench.data.selection import below, key_of, words
from kdbench.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    from kdbench.data.dataset import Dataset
    from kdbench.recipe import Augment

    Numbers = npt.NDArray[np.int64]

# Up to this many views have slots if the recipe does not set their number.
FEW_VIEWS = 16
# Separate keys, so that views depend neither on each other nor on the choice of samples and wrong labels; the bank of
# views is the same for every seed.
_BANK, _ORDER, _VIEW = 0x6B616E6B, 0x6F726472, 0x76696577


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


def require_images(augment: Augment, dataset: Dataset, name: str) -> None:
    """Raise InputError if the augmentation of the model `name` applies to images and the data set holds none."""
    image = dataset.layout == "NCHW"
    tokens = dataset.layout == "tokens"
    refused = {
        "pad": (augment.pad, image),
        "flip": (augment.flip, image),
        "cutmix": (augment.cutmix, image),
        "mixup": (augment.mixup, not tokens),
    }
    for key, (used, allowed) in refused.items():
        if used and not allowed:
            message = f"{name}: data.augment.{key} is for images, and the inputs are {dataset.layout}"
            hint = "leave it out" if tokens else "leave it out; mixup works for all numbers"
            raise InputError(message, hint)


def slot_count(augment: Augment) -> int | None:
    """Return the number of views of each image, or None if there are too many to keep.

    A mixed image has as many as the recipe says: where the crops are used up, the mixtures still differ.
    """
    total = augment.distinct_views
    if augment.views is not None:
        return augment.views if augment.mixes_in_slots else min(augment.views, total)
    return total if total <= FEW_VIEWS else None


def repeated_views(augment: Augment) -> dict[str, Any]:
    """Return what determines the images that samples are shown as in their slots; the same for every seed."""
    mixing = {"mixup": augment.mixup, "cutmix": augment.cutmix} if augment.mixes_in_slots else {}
    return {"pad": augment.pad, "flip": augment.flip, "slots": slot_count(augment), **mixing}


def slots_of_epoch(augment: Augment, samples: Numbers, seed: int, epoch: int) -> Numbers | None:
    """Return the slot (N,) of the view of each of `samples` (N,) in an epoch; None if views have no slots.

    If the recipe sets the number of views, each sample cycles through its slots from a random first slot; otherwise
    slots are drawn at random in every epoch.
    """
    count = slot_count(augment)
    if count is None:
        return None
    if augment.views is None:
        return below(count, words(key_of(_VIEW, seed, epoch), samples))
    return (below(count, words(key_of(_ORDER, seed), samples)) + epoch) % count


def views_in_slots(augment: Augment, samples: Numbers, slots: Numbers | int) -> Numbers:
    """Return the number (N,) of the view of each of `samples` in its slot.

    No sample has the same view in two slots, unless there are more slots than views, because images are mixed too.
    """
    total, count = augment.distinct_views, slot_count(augment)
    assert count is not None, "views without slots"
    if count == total:
        return samples * 0 + slots
    # A step coprime with the number of views visits each view once before any repeats; a step near the golden ratio
    # spreads the few used views evenly.
    step = next(s for s in range(int(0.618 * total), total + 1) if math.gcd(s, total) == 1)
    return (below(total, words(key_of(_BANK), samples)) + slots * step) % total


def views_of_epoch(augment: Augment, samples: Numbers, seed: int, epoch: int) -> Numbers:
    """Return the number (N,) of the view of each of `samples` in an epoch, for views without slots."""
    return below(augment.distinct_views, words(key_of(_VIEW, seed, epoch), samples))


def decode_views(numbers: Numbers, augment: Augment) -> Views:
    """Return the views with these numbers: the first half unmirrored, the second mirrored; by rows, then columns."""
    import torch

    side = 2 * augment.pad + 1
    views = torch.from_numpy(numbers)
    return Views((views % side**2) // side, views % side, views >= side**2)


def apply_views(images: torch.Tensor, views: Views, pad: int) -> torch.Tensor:
    """Return (B, C, H, W) uint8 `images`, each zero-padded by `pad`, cropped back to H × W and mirrored by its view.

    Crop and mirror are one gather over the flattened padded image, which on a CPU is faster than indexing an unfolded
    view or `take`.
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
