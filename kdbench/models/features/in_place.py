"""Tensors that a network may overwrite: copying them, and detecting whether an in-place operation changed one.

`nn.ReLU(inplace=True)` or `x += y` in a forward pass replaces the values of a tensor to which other code still refers.
torch counts the changes of every tensor, except those of inference mode.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only


def copy_of(value: Any) -> Any:
    """Return `value`, a tensor or a structure of tensors, with a copy of each tensor, in the graph of the original.

    Copies of inference tensors are ordinary tensors, which a backward pass may save.
    """
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(mode=False), torch.no_grad():
            return tree_map_only(Tensor, torch.clone, value)
    return tree_map_only(Tensor, torch.clone, value)


class Original:
    """A tensor or a structure of tensors in its current state, none of inference mode.

    The structure is a copy, because a network may put other tensors into a list or a dict that a layer returned.
    """

    def __init__(self, value: Any) -> None:
        self.value = tree_map(lambda leaf: leaf, value)
        self._tensors = cast("list[Tensor]", [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)])
        self._versions = _versions(self._tensors)

    def has_changed(self) -> bool:
        """Return whether torch has counted a change of one of the tensors."""
        return _versions(self._tensors) != self._versions

    def differs_from(self, copy: Any) -> bool:
        """Return whether a tensor differs from its `copy`, because torch does not count changes through `.data`.

        Waits for a GPU.
        """
        pairs = zip(self._tensors, (leaf for leaf in tree_leaves(copy) if isinstance(leaf, Tensor)), strict=True)
        return not all(one.is_meta or torch.equal(one, other) for one, other in pairs)


def _versions(tensors: list[Tensor]) -> list[int]:
    return [0 if tensor.is_inference() else tensor._version for tensor in tensors]  # noqa: SLF001 - no public name
