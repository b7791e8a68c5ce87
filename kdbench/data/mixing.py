"""Mixed training images: torchvision's MixUp and CutMix, with chance keyed to (seed, epoch, batch).

MixUp: Zhang et al. 2018 (arXiv:1710.09412); CutMix: Yun et al. 2019 (arXiv:1905.04899). Labels become a distribution
over the classes, and the share of the second image comes from a symmetric Beta distribution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.data.counter import key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from kdbench.recipe import Augment


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
