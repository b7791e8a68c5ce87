"""Normalisation of inputs that are on a device: the same bits as in a process that measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from kdbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from kdbench.data.dataset import Split


class Normaliser:
    """Normalises samples of a split along `channel_axis`: uint8 as (x / 255 - mean) / std, float32 as (x - mean) / std.

    Token ids stay as they are. Raises InputError for constants that do not fit the split.
    """

    def __init__(
        self,
        split: Split,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        channel_axis: int,
        channels_last: bool,
        device: torch.device,
    ) -> None:
        kind, dimensions = split.inputs.dtype, split.inputs.ndim
        tokens = kind == np.int64
        channels = 0 if tokens else split.inputs.shape[channel_axis]
        if not len(mean) == len(std) == channels:
            message = f"{len(mean)} means and {len(std)} standard deviations for inputs of {channels} channels"
            hint = "give data.mean and data.std one value per channel"
            raise InputError(message, "leave data.mean and data.std out: token ids have none" if tokens else hint)
        if min(std, default=1) <= 0:
            raise InputError(f"data.std is {tuple(std)}", "standard deviations are positive")
        self.channels_last = channels_last and dimensions == 4
        self._device = device
        means, stds = (np.asarray(values, dtype=np.float64) for values in (mean, std))
        self._shape = [1] * dimensions
        self._shape[channel_axis] = -1
        self._normalised: Callable[[torch.Tensor], torch.Tensor]
        if kind == np.uint8:
            # (x / 255 - mean) / std as x · scale + shift, in double precision until the end.
            self._scale, self._shift = self._along(1 / (255 * stds)), self._along(-means / stds)
            self._normalised = self._of_pixels
        elif tokens:
            self._normalised = self._of_tokens
        else:
            # Bit for bit as in a measuring process; x · scale + shift would lose the digits of a large mean.
            self._mean, self._std = self._along(means), self._along(stds)
            self._normalised = self._of_numbers

    def __call__(self, samples: torch.Tensor) -> torch.Tensor:
        """Return `samples` (B, …) normalised, in the memory format of the network."""
        return self._normalised(samples)

    def formatted(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return `inputs` in the memory format of the network."""
        import torch

        return inputs.contiguous(memory_format=torch.channels_last) if self.channels_last else inputs

    def _of_pixels(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        # In place, memory format last: addcmul does it in one call but broadcasts slowly on a CPU.
        return self.formatted(images.to(torch.float32).mul_(self._scale).add_(self._shift))

    def _of_numbers(self, numbers: torch.Tensor) -> torch.Tensor:
        return self.formatted((numbers - self._mean).div_(self._std))

    def _of_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens

    def _along(self, values: np.ndarray[Any, np.dtype[np.float64]]) -> torch.Tensor:
        import torch

        return torch.from_numpy(values.astype(np.float32)).view(*self._shape).to(self._device)
