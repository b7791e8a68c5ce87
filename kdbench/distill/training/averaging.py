"""The exponential moving average of a network's weights (Polyak & Juditsky 1992), which is validated and kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from kdbench.recipe import Average


def decay_at(average: Average, update: int) -> float:
    """Return the decay at update `update`, from 1.

    With warm-up min(decay, (1 + n) / (10 + n)) after n updates, as `tf.train.ExponentialMovingAverage` with
    `num_updates`: a short training would otherwise end near its initial weights.
    """
    return min(average.decay, (1 + update) / (10 + update)) if average.warmup else average.decay


class WeightAverage:
    """Averages e of the values w of a network: e ← d · e + (1 − d) · w after every update; they start as its values.

    Parameters and floating-point buffers are averaged, batch norm's statistics among them, as in timm's `ModelEmaV3`
    and torchvision's reference training. Buffers of integers, and those with values that are not finite (masks), are
    not averaged.
    """

    def __init__(self, network: nn.Module, average: Average, saved: dict[str, Tensor] | None = None) -> None:
        self._options = average
        places = _places(network)
        values = {name: table[key] for name, (table, key) in places.items()}
        if saved is None:
            chosen = [name for name, value in values.items() if value.is_floating_point() and _is_finite(value)]
            saved = {name: values[name].detach().clone() for name in chosen}
        # Like the values in device and memory format.
        self._averages = {name: torch.empty_like(values[name].detach()).copy_(value) for name, value in saved.items()}
        self._places = [places[name] for name in self._averages]

    @torch.no_grad()
    def update(self, number: int) -> None:
        """Include the network's values after update `number` of the training, from 1."""
        torch._foreach_lerp_([*self._averages.values()], self._values(), 1 - decay_at(self._options, number))

    @contextmanager
    def in_network(self) -> Iterator[None]:
        """Put the averages into the network while the block runs; the block may change them there."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        """Exchange the averages and the network's values, in place."""
        averages, values = [*self._averages.values()], self._values()
        copies = [value.clone() for value in values]
        torch._foreach_copy_(values, averages)
        torch._foreach_copy_(averages, copies)

    def state(self) -> dict[str, Tensor]:
        """Return the averages by name, for a checkpoint."""
        return dict(self._averages)

    def _values(self) -> list[Tensor]:
        """Return the values that the network has now: a forward may replace a buffer, as in `self.mean = …`."""
        return [table[key] for table, key in self._places]


def _places(network: nn.Module) -> dict[str, tuple[dict[str, Any], str]]:
    """Return where the network keeps its parameters and persistent buffers, by name: a module's table, and a key.

    A tensor that several modules share is listed once, at its first place.
    """
    saved, seen = network.state_dict().keys(), set[Tensor]()
    parameters: dict[str, tuple[dict[str, Any], str]] = {}
    buffers: dict[str, tuple[dict[str, Any], str]] = {}
    for path, module in network.named_modules():
        for table, places in ((module._parameters, parameters), (module._buffers, buffers)):  # noqa: SLF001
            for key, value in table.items():
                name = f"{path}.{key}" if path else key
                if value is not None and name in saved and value not in seen:
                    seen.add(value)
                    places[name] = (table, key)
    return parameters | buffers


def _is_finite(value: Tensor) -> bool:
    return bool(value.isfinite().all())
