"""A network as training runs it: its output with the outputs of inner layers, and its inputs unchanged."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.models.features.in_place import Original
from kdbench.models.taps import Taps


class TappedNetwork:
    """Runs `network` as often as needed; remembers what it overwrites in place, so that only that is copied."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._changes_inputs: bool | None = None  # unknown
        self._overwritten: dict[str, bool] = {}
        self._calls: dict[str, int] = {}

    def run(self, inputs: Tensor, layers: Sequence[str] = (), *, output: bool = True) -> tuple[Any, dict[str, Any]]:
        """Return the network's output for `inputs` (B, …), and the outputs of `layers` by path, as `Taps` keeps them.

        `inputs` are not changed. Without `output` the forward may end at the last of `layers`, and the first result is
        None. Raises InputError for layers that the network does not have or does not use.
        """
        # The outputs of a layer's last call are needed, so the forward ends early only where each is called once.
        stop_early = not output and all(self._calls.get(layer) == 1 for layer in layers)
        result = None
        with Taps(self.network, layers, stop_early=stop_early, overwritten=self._overwritten) as taps:
            result = self._forward(inputs)
        if missing := [layer for layer in layers if layer not in taps.features]:
            raise InputError(f"layer {missing[0]!r} of {type(self.network).__name__} gives nothing (it is not used)",
                             "name a layer that every forward calls")  # fmt: skip
        if not stop_early:
            self._calls.update(taps.calls)
        return (result if output else None), taps.features

    def _forward(self, inputs: Tensor) -> Any:
        if inputs.is_inference():
            return self.network(inputs if self._changes_inputs is False else inputs.clone())
        passed = inputs if self._changes_inputs is False else inputs.clone()
        original = Original(passed)
        result = self.network(passed)
        changed = original.has_changed()
        if self._changes_inputs is None:
            self._changes_inputs = changed or original.differs_from(inputs)
        elif changed and not self._changes_inputs:
            message = f"{type(self.network).__name__} overwrites its inputs in place in some steps and not in others"
            raise InputError(message, "let its forward work on a copy of the inputs")
        return result
