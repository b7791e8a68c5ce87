"""Random changes of training images, a whole batch at a time, on the device where the images lie.

The change of one sample is a *view*: where the crop of the zero-padded image begins, and whether it is mirrored.
Views are drawn apart from being applied, so a whole epoch's can be drawn at once and belong to samples, not batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


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


def draw_views(count: int, pad: int, flip: bool, generator: torch.Generator) -> Views:
    """Draw independent views for `count` samples: every offset equally likely, mirrored with chance ½ if `flip`."""
    import torch

    offsets = torch.randint(2 * pad + 1, (2, count), generator=generator)
    coins = torch.randint(2, (count,), generator=generator) == 1
    return Views(offsets[0], offsets[1], coins if flip else torch.zeros_like(coins))


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


def augment(images: torch.Tensor, pad: int, flip: bool, generator: torch.Generator) -> torch.Tensor:
    """Return freshly drawn views of (B, C, H, W) uint8 `images`; the generator is a CPU one, whatever the device."""
    return apply_views(images, draw_views(len(images), pad, flip, generator).to(images.device), pad)
