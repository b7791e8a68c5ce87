"""Loading weights from files into a network: choosing a checkpoint's table, and removing prefixes that wrappers add."""

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import torch
from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.export.weight_files import StateDict, listed, read_tables

# Parts that DataParallel and torch.compile insert into the names of weights, and the counter of averaged models.
_WRAPPER_PARTS = {"module", "_orig_mod"}
_COUNTER = "n_averaged"
_MAJORITY = 0.5


class SeveralWeightsError(InputError):
    """Raised for a file with several sets of weights: the user has to choose one of `keys`."""

    def __init__(self, message: str, hint: str, keys: Sequence[str]) -> None:
        super().__init__(message, hint)
        self.keys = tuple(keys)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A set of weights in a file: the tensors of a `table` whose names begin with `prefix`, by the network's names.

    `share` is their share of all numbers in the table. `missing` are the network's tensors that the set lacks,
    `unexpected` the set's tensors that the network lacks. `shapes` and `dtypes` describe the tensors whose shape or
    type differs; `head` are the tensors of a last layer with another number of outputs.
    """

    table: str
    prefix: str
    weights: StateDict
    share: float = 1.0
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    head: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The place of the weights in the file, such as "state_dict.teacher"; "" if they are the whole file."""
        return ".".join(filter(None, (self.table, self.prefix.rstrip("."))))

    def load(self, network: nn.Module) -> None:
        """Load the weights into the network, except a last layer with another number of outputs."""
        weights = {name: value for name, value in self.weights.items() if name not in self.head}
        network.load_state_dict(weights, strict=False)

    @property
    def lookup(self) -> str:
        """The Python expression that selects the weights from the file's content, `checkpoint`."""
        table = "checkpoint" + "".join(f"[{key!r}]" for key in self.table.split(".") if key)
        if not self.prefix:
            return table
        return f"{{k.removeprefix({self.prefix!r}): v for k, v in {table}.items() if k.startswith({self.prefix!r})}}"


def load_weights(
    network: nn.Module, path: Path, *, outputs: int | None = None, key: str | None = None
) -> tuple[str, ...]:
    """Load the weights in the file at `path` into a network; return the names of the tensors that were not loaded.

    Only the last layer may stay unloaded, if it has another number of outputs in the file and `outputs`, the number of
    the network's outputs, is given. If a checkpoint has several sets of weights, the one with the network's names is
    loaded; `key` selects among several such sets. Raises InputError for a file without weights, and for weights that
    are missing, unexpected or of another shape, with their names. Raises SeveralWeightsError if a key is needed.
    """
    chosen = chosen_weights(network, path, outputs=outputs, key=key)
    chosen.load(network)
    return chosen.head


def chosen_weights(network: nn.Module, path: Path, *, outputs: int | None = None, key: str | None = None) -> Candidate:
    """Return the weights that `load_weights` would load; raises the same errors."""
    tables = read_tables(path)
    expected = _tensors(network)
    candidates = [
        _compared(candidate, network, expected, outputs)
        for table, tensors in tables.items()
        for candidate in _renamed(table, tensors, expected)
    ]
    whole = [candidate for candidate in candidates if not candidate.missing]
    if key is not None:
        named = [candidate for candidate in candidates if candidate.key == key]
        if not named:
            known = listed(sorted({candidate.key for candidate in whole or candidates if candidate.key}))
            hint = f"it has: {known}" if known else "leave the key out: the file holds one set of weights"
            raise InputError(f"{path} has no weights called {key!r}", hint)
        candidates, whole = named, [candidate for candidate in named if not candidate.missing]
    fitting = [candidate for candidate in whole if not (candidate.shapes or candidate.dtypes)] or whole
    if key is None and (len(fitting) > 1 or (fitting and fitting[0].share < _MAJORITY)):
        raise _several(fitting, path)
    if not fitting and (converted := _converted_by_network(network, tables)) is not None:
        return converted
    best = fitting[0] if fitting else max(candidates, key=lambda candidate: len(candidate.weights))
    _require_fit(best, path)
    return best


def _several(candidates: Sequence[Candidate], path: Path) -> SeveralWeightsError:
    keys = [candidate.key for candidate in candidates if candidate.key]
    shown = ", ".join(candidate.key or "its own" for candidate in candidates)
    several = f"several sets of weights: {shown}"
    only_a_part = f"the network's weights under {shown}, but mostly other weights"
    first = next(candidate for candidate in candidates if candidate.key)
    hint = f"save the set that you mean alone: torch.save({first.lookup}, 'weights.pth')"
    return SeveralWeightsError(f"{path} holds {several if len(candidates) > 1 else only_a_part}", hint, keys)


def _require_fit(candidate: Candidate, path: Path) -> None:
    problems = [
        ("of another shape", candidate.shapes),
        ("of another type", candidate.dtypes),
        ("missing", candidate.missing),
        ("unexpected", candidate.unexpected),
    ]
    faults = [f"{len(names)} {fault} ({listed(names)})" for fault, names in problems if names]
    if faults:
        message = f"{path} does not hold the weights of this network: {'; '.join(faults)}"
        raise InputError(message, "name the network that they were saved from, with the same options and classes")


def _tensors(network: nn.Module) -> StateDict:
    return {name: value for name, value in network.state_dict().items() if isinstance(value, Tensor)}


def _renamed(table: str, tensors: StateDict, expected: Mapping[str, Tensor]) -> Iterator[Candidate]:
    """Yield sets of a table's tensors, renamed to the network's names in each way that prefixes allow.

    A prefix in the file, such as Lightning's `model.`, is the attribute of a module that held the network; other
    tensors of that module are left out. A prefix in the network is the attribute of a module that wraps the saved one.
    """
    tensors = _unwrapped(tensors, expected)
    total = sum(value.numel() for value in tensors.values())
    seen: set[frozenset[tuple[str, int]]] = set()
    for outer in _common_prefixes(expected):
        names = {name.removeprefix(outer) for name in expected}
        prefixes = {name[:start] for name in tensors for start in _part_starts(name) if name[start:] in names}
        for prefix in sorted(prefixes) or [""]:
            weights = {
                outer + name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)
            }
            content = frozenset((name, id(value)) for name, value in weights.items())
            if content not in seen:
                seen.add(content)
                yield Candidate(table, prefix, weights, sum(v.numel() for v in weights.values()) / max(total, 1))


def _unwrapped(tensors: StateDict, expected: Collection[str]) -> StateDict:
    """Return the tensors without the parts of names that wrappers add and that the network's names do not have."""
    added = _WRAPPER_PARTS - {part for name in expected for part in name.split(".")}
    plain = {".".join(part for part in name.split(".") if part not in added): name for name in tensors}
    if len(plain) < len(tensors):  # two tensors would have the same name
        return tensors
    return {name: tensors[old] for name, old in plain.items() if old != _COUNTER or old in expected}


def _common_prefixes(names: Collection[str]) -> list[str]:
    """Return the prefixes of whole parts that all of a network's names share, from "" to the longest."""
    paths = [name.split(".")[:-1] for name in names]
    shared = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))]
    return ["".join(f"{part}." for part in shared[:depth]) for depth in range(len(shared) + 1)]


def _part_starts(name: str) -> list[int]:
    return [0, *(place + 1 for place, character in enumerate(name) if character == ".")]


def _compared(candidate: Candidate, network: nn.Module, expected: StateDict, outputs: int | None) -> Candidate:
    """Return a candidate with its differences from the network's tensors `expected`."""
    weights = candidate.weights
    different = [name for name in expected if name in weights and weights[name].shape != expected[name].shape]
    head = _new_head(expected, weights, different, outputs)
    shapes = [
        f"{name}: {tuple(weights[name].shape)} in the file, {tuple(expected[name].shape)} in the network"
        for name in different
        if name not in head
    ]
    dtypes = [
        f"{name}: {_dtype(weights[name])} in the file, {_dtype(tensor)} in the network"
        for name, tensor in expected.items()
        if name in weights and not _converts(weights[name], tensor)
    ]
    present = {expected[name].data_ptr() for name in weights.keys() & expected.keys() if expected[name].numel()}
    missing = [
        name
        for name, tensor in expected.items()
        # Files of older versions of torch have no counters, and safetensors stores tied weights once.
        if name not in weights and not name.endswith("num_batches_tracked") and tensor.data_ptr() not in present
    ]
    unsaved = dict(network.named_buffers())
    unexpected = [name for name in weights if name not in expected and not _equal(weights[name], unsaved.get(name))]
    chosen = {name: value for name, value in weights.items() if name in expected}
    faults = tuple(missing), tuple(unexpected), tuple(sorted(shapes)), tuple(dtypes), head
    return Candidate(candidate.table, candidate.prefix, chosen, candidate.share, *faults)


def _converts(value: Tensor, to: Tensor) -> bool:
    """Return whether a file's tensor can be loaded into one of the network's: floats from integers cannot."""
    return value.is_floating_point() or not to.is_floating_point()


def _equal(value: Tensor, buffer: Tensor | None) -> bool:
    """Return whether a file's tensor equals a buffer that the network computes and no longer saves."""
    return buffer is not None and value.shape == buffer.shape and torch.equal(value.to(buffer), buffer)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _new_head(
    expected: StateDict, weights: StateDict, different: Sequence[str], outputs: int | None
) -> tuple[str, ...]:
    """Return the tensors of the last layer if only they are `different`, and only in their number of outputs.

    A layer that alone is different is the last one: the width of any other layer also changes the layer after it.
    """
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


def _converted_by_network(network: nn.Module, tables: Mapping[str, StateDict]) -> Candidate | None:
    """Return the weights of a file that the network's own loading rules convert, such as older names; else None.

    For example, torch's `parametrizations.weight_norm` converts the weights of the older `weight_norm`.
    """
    expected = _tensors(network)
    for table, tensors in tables.items():
        weights = _unwrapped(tensors, expected)
        known = all(
            _converts(value, expected[name]) if name in expected else value.is_floating_point()
            for name, value in weights.items()
        )
        if not known:
            continue
        try:
            trial = copy.deepcopy(network)
            trial.load_state_dict(weights)
        except Exception:  # noqa: BLE001, S112 - it runs code of torch and of the user
            continue
        return Candidate(table, "", _tensors(trial))
    return None
