"""Weights from files: safetensors, or a state dict of torch's, which is never unpickled beyond tensors."""

import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdbench import storage
from kdbench.errors import InputError, first_line

StateDict = dict[str, Tensor]

_SAVE = "save the weights alone: torch.save(network.state_dict(), 'weights.pth')"
# Where trainers keep the network's weights, among other state.
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "state_dict_ema", "model_ema", "ema")
# What DataParallel and Lightning put before each name.
_PREFIXES = ("module.", "model.", "net.", "network.")
_COMPILED = "_orig_mod."  # what torch.compile puts before the names in each module that it compiled
_MOST_SHOWN = 5


def load_weights(network: nn.Module, path: Path, *, outputs: int | None = None) -> tuple[str, ...]:
    """Load the weights in the file at `path` into a network; return the names of those that stay fresh: a new head.

    With `outputs`, the number of the network's, its last layer may have another number of outputs in the file; then it
    stays as it is. Raises InputError for a file that holds something else, and with the names for weights that are
    missing, unexpected or of another shape.
    """
    expected = network.state_dict()
    weights = _without_prefix(read_weights(path), expected)
    different = [name for name in expected if name in weights and weights[name].shape != expected[name].shape]
    head = _new_head(network, weights, different, outputs)
    shapes = [
        f"{name}: {tuple(weights[name].shape)} in the file, {tuple(expected[name].shape)} in the network"
        for name in different
        if name not in head
    ]
    kinds = [
        f"{name}: {_kind(weights[name])} in the file, {_kind(tensor)} in the network"
        for name, tensor in expected.items()
        if name in weights and tensor.is_floating_point() and not weights[name].is_floating_point()
    ]
    present = {expected[name].data_ptr() for name in weights.keys() & expected.keys() if expected[name].numel()}
    missing = [
        name
        for name, tensor in expected.items()
        # Older files have no counters; of weights that are tied, safetensors keeps one.
        if name not in weights and not name.endswith("num_batches_tracked") and tensor.data_ptr() not in present
    ]
    unexpected = [name for name in weights if name not in expected]
    of_another = [("of another shape", sorted(shapes)), ("of another type", kinds)]
    problems = [*of_another, ("missing", missing), ("unexpected", unexpected)]
    faults = [f"{len(names)} {fault} ({_listed(names)})" for fault, names in problems if names]
    if faults:
        message = f"{path} does not hold the weights of this network: {'; '.join(faults)}"
        raise InputError(message, "name the network that they were saved from, with the same options and classes")
    network.load_state_dict({name: value for name, value in weights.items() if name not in head}, strict=False)
    return head


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _new_head(network: nn.Module, weights: StateDict, different: Sequence[str], outputs: int | None) -> tuple[str, ...]:
    """Return the tensors of the last layer if they alone are `different`, and only in their number of outputs.

    No other layer's width can change without that of a layer that reads it.
    """
    expected = network.state_dict()
    if outputs is None or len({name.rpartition(".")[0] for name in different}) != 1:
        return ()
    of_outputs = all(
        expected[name].dim() > 0
        and weights[name].dim() == expected[name].dim()
        and len(expected[name]) == outputs
        and weights[name].shape[1:] == expected[name].shape[1:]
        for name in different
    )
    return tuple(different) if of_outputs else ()


def read_weights(path: Path) -> StateDict:
    """Return the tensors in a .safetensors file or a state dict of torch's, also one in a trainer's checkpoint.

    Raises InputError for a file that is missing, cut short or holds something else.
    """
    if not path.is_file():
        raise InputError(f"no weights at {path}", "check the path: a recipe's is relative to its file")
    with path.open("rb") as stream:
        head = stream.read(64)
    if head.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git LFS pointer, not the weights", "fetch them: git lfs pull")
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    weights = _unwrapped(content, path)
    return {str(name): tensor for name, tensor in weights.items() if isinstance(tensor, Tensor)}


def _safetensors(path: Path) -> StateDict:
    import safetensors
    import safetensors.torch

    try:
        weights: StateDict = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is not a readable safetensors file: {error}", "is it cut short?") from error
    return weights


def _pickled(path: Path) -> Any:
    """Return the tensors and plain values in a file of torch.save; other objects are refused, never unpickled."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        storage.require_unpackable(path)
        if any(name.endswith("/constants.pkl") for name in names):
            hint = f"in the code that made it, {_SAVE}; then --torch pkg.module:factory --weights weights.pth"
            raise InputError(f"{path} is a TorchScript archive, not a state dict", hint)
        if any(name.endswith("/archive_format") for name in names):
            raise InputError(
                f"{path} is an exported program, not a state dict", "give it as a MODEL: kdbench bench m.pt2"
            )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        kind = re.search(r"GLOBAL ([\w.]+)", str(error))
        if kind is None:
            raise InputError(f"{path} is not a state dict that torch can read", f"is it cut short? {_SAVE}") from error
        message = f"{path} holds Python objects ({kind[1]}), not weights alone; kdbench does not unpickle them"
        raise InputError(message, f"where it was trained, {_SAVE}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, UnicodeDecodeError) as error:
        reason = first_line(error)
        raise InputError(
            f"{path} is not a state dict that torch can read: {reason}", f"is it cut short? {_SAVE}"
        ) from error


def _unwrapped(content: Any, path: Path) -> Mapping[str, Any]:
    """Return the weights in a checkpoint, which may keep them under a key such as `state_dict`."""
    if not isinstance(content, Mapping):
        raise InputError(f"{path} holds {type(content).__name__}, not a state dict", _SAVE)
    inside = [key for key in _WRAPPERS if isinstance(content.get(key), Mapping) and _holds_tensors(content[key])]
    if len(inside) > 1:
        message = f"{path} holds several sets of weights: {', '.join(inside)}"
        raise InputError(message, f"save the one you mean alone: torch.save(checkpoint[{inside[0]!r}], 'weights.pth')")
    if inside:
        inner: Mapping[str, Any] = content[inside[0]]
        return inner
    if not _holds_tensors(content):
        raise InputError(f"{path} holds no weights: its keys are {_listed(list(map(str, content)))}", _SAVE)
    return content


def _holds_tensors(value: Mapping[str, Any]) -> bool:
    return any(isinstance(tensor, Tensor) for tensor in value.values())


def _without_prefix(weights: StateDict, expected: Mapping[str, Tensor]) -> StateDict:
    """Return the weights without what wrappers put into their names, where the network does not call them so."""
    if not any(_COMPILED in name for name in expected):
        weights = {name.replace(_COMPILED, ""): tensor for name, tensor in weights.items()}
    while not weights.keys() & expected.keys():
        prefix = next((prefix for prefix in _PREFIXES if all(name.startswith(prefix) for name in weights)), None)
        if prefix is None or not weights:
            break
        weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
    return ", ".join(names[:_MOST_SHOWN]) + more
