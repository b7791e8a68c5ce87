"""Mixed training images: MixUp and CutMix, of whole batches or of each sample in its slots.

MixUp (Zhang et al. 2018, arXiv:1710.09412) adds two images with weights, CutMix (Yun et al. 2019, arXiv:1905.04899)
replaces a box of one image by that of another. The share of the second image comes from a symmetric Beta distribution,
and labels become a distribution over the classes.

Whole batches are mixed by torchvision, with random numbers keyed to (seed, epoch, batch): no image ever returns. If the
recipe sets the number of views, a sample has one mixture in each slot instead, the same for every seed. A teacher's
outputs for mixed images can then be stored by sample and slot, as Shen and Xing 2022 (arXiv:2112.01528) do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kdbench.data.selection import below, key_of, uniform, words

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    import torch

    from kdbench.recipe import Augment

    Numbers = npt.NDArray[np.int64]

# Separate keys for the choice of the second image, of shares, of the method and of boxes.
_ORDER, _SHIFT, _SHARE, _METHOD, _ROW, _COLUMN = range(0x6D697830, 0x6D697836)


class BatchMixing:
    """Mixes whole batches by `augment`; the same batch of the same epoch is always mixed in the same way."""

    def __init__(self, augment: Augment, classes: int, seed: int) -> None:
        from torchvision.transforms import v2

        self._seed = seed
        self._transforms: list[Callable[..., tuple[torch.Tensor, torch.Tensor]]] = [
            transform(alpha=alpha, num_classes=classes)
            for transform, alpha in ((v2.MixUp, augment.mixup), (v2.CutMix, augment.cutmix))
            if alpha
        ]

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, epoch: int, number: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs (B, …), each mixed with its neighbour in the batch, and labels (B, classes) float.

        Numbers of any shape are mixed as images (B, 1, 1, numbers); cutmix, which `require_images` refuses for them,
        needs images (B, C, H, W).
        """
        import torch

        if images.dim() != 4:
            mixed, distributions = self(images.flatten(1)[:, None, None], labels, epoch, number)
            return mixed.view(images.shape), distributions
        key = key_of(self._seed, epoch, number)
        # torchvision draws from the CPU's global generator, whose state is restored afterwards.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key)
            return self._transforms[(key >> 32) % len(self._transforms)](images, labels)


class Mixtures(NamedTuple):
    """The mixtures of B samples: the second image's `position` in the split and its `share`; `cut` where it is CutMix.

    `row` and `column` (B,) float32, in 0..1, are the centre of the box of CutMix as shares of height and width.
    """

    position: torch.Tensor
    share: torch.Tensor
    cut: torch.Tensor
    row: torch.Tensor
    column: torch.Tensor

    def of(self, index: torch.Tensor) -> Mixtures:
        """Return the mixtures of the samples at `index` (B,)."""
        return Mixtures(*(field.index_select(0, index) for field in self))

    def to(self, device: torch.device) -> Mixtures:
        """Return the mixtures on `device`."""
        return Mixtures(*(field.to(device) for field in self))


def mixtures_in_slots(augment: Augment, samples: Numbers, slots: Numbers) -> Mixtures:
    """Return the mixture of each of a split's `samples` (N,) in its slot (N,).

    The second image depends on the samples of the split; share, method and box depend on sample and slot alone. No
    sample of two or more is mixed with itself.
    """
    import torch
    from scipy.special import betaincinv

    count = len(samples)
    order = np.argsort(words(key_of(_ORDER), samples), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(count)
    shift = 1 + below(count - 1, words(key_of(_SHIFT), slots))
    position = order[(rank + shift) % count]
    cell = samples * 256 + slots  # a recipe has at most 256 views
    cut = _uniform(_METHOD, cell) < _cut_chance(augment)
    alpha = np.where(cut, augment.cutmix, augment.mixup)
    shares = betaincinv(alpha, alpha, _uniform(_SHARE, cell)), _uniform(_ROW, cell), _uniform(_COLUMN, cell)
    share, row, column = (torch.from_numpy(values.astype(np.float32)) for values in shares)
    return Mixtures(torch.from_numpy(position), share, torch.from_numpy(cut), row, column)


def _uniform(stream: int, cells: Numbers) -> npt.NDArray[np.float64]:
    """Return a number between 0 and 1 for each of `cells`."""
    return uniform(words(key_of(stream), cells))


def _cut_chance(augment: Augment) -> float:
    return 0.5 if augment.mixup and augment.cutmix else float(augment.cutmix > 0)


def mix(first: torch.Tensor, second: torch.Tensor, mixtures: Mixtures) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the inputs (B, …) of `first`, each mixed with that of `second`, and the shares (B,) of the second.

    A box that reaches beyond the image is cut off, which lowers its share. CutMix needs images (B, C, H, W).
    """
    import torch

    weight, share = mixtures.share.view(-1, *[1] * (first.dim() - 1)), mixtures.share
    if mixtures.cut.any():
        box = _boxes(mixtures, *first.shape[2:])
        cut = mixtures.cut
        weight = torch.where(cut.view(-1, 1, 1, 1), box, weight)
        share = torch.where(cut, box.mean(dim=(1, 2, 3)), share)
    return torch.lerp(first, second, weight), share


def _boxes(mixtures: Mixtures, height: int, width: int) -> torch.Tensor:
    """Return (B, 1, H, W) float32, which is 1 inside the box of each sample, as torchvision's CutMix draws it."""
    import torch

    half = 0.5 * mixtures.share.sqrt()[:, None]

    def inside(centre: torch.Tensor, size: int) -> torch.Tensor:
        pixel, middle = torch.arange(size, device=half.device), (centre * size).int().clamp(max=size - 1)[:, None]
        reach = (half * size).int()
        return (pixel >= middle - reach) & (pixel < middle + reach)

    box = inside(mixtures.row, height)[:, None, :, None] & inside(mixtures.column, width)[:, None, None, :]
    return box.to(torch.float32)


def mixed_labels(labels: torch.Tensor, others: torch.Tensor, share: torch.Tensor, classes: int) -> torch.Tensor:
    """Return distributions (B, classes) float32 of `labels` and, with the `share` (B,), `others`."""
    from torch.nn import functional

    weight = share[:, None]
    return (1 - weight) * functional.one_hot(labels, classes) + weight * functional.one_hot(others, classes)
