"""Files of initial weights: their content hashes, and loading them into a network."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from kdbench.errors import InputError
from kdbench.export.state_dicts import Candidate, SeveralWeightsError, chosen_weights
from kdbench.files import storage
from kdbench.files.nearby import expected_at
from kdbench.modelfile.known_inputs import sidecar_files
from kdbench.recipe.tables.models import ONNX
from kdbench.results.run_folder import card_path


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a model's file; raises InputError if there is none."""
    if not path.is_file():
        hint = expected_at(path, "name a file of weights; a recipe's path is relative to its file", Path.is_file)
        raise InputError(f"there is no file {path}", hint)
    state = path.stat()
    content = _hash(path, state.st_size, state.st_mtime_ns)
    external = external_files(path) if path.suffix == ONNX else []
    return storage.content_hash([content, *map(file_hash, external)]) if external else content


def external_files(path: Path) -> list[Path]:
    """Return the files that hold the large weights of an ONNX file; raises InputError for one that cannot be read."""
    from kdbench.modelfile.reading import model_files

    return model_files(path)[1:]


def external_locations(path: Path) -> dict[Path, Path]:
    """Return the files of external data of an ONNX file by their places, which are relative to its folder."""
    return {file.relative_to(path.parent): file for file in external_files(path)}


def neighbours_hash(path: Path) -> str | None:
    """Return a hash of the files next to a model that describe its input; None without any."""
    files = [file for file in (*sidecar_files(path), card_path(path)) if file.is_file()]
    return storage.content_hash([[file.suffix, file_hash(file)] for file in files]) if files else None


@functools.lru_cache(maxsize=256)
def _hash(path: Path, size: int, modified_ns: int) -> str:  # noqa: ARG001 - a changed file is another one
    return storage.sha256(path)


def load_into(
    network: nn.Module, path: Path, outputs: int, name: str, *, new_head: bool, key: str | None = None
) -> Candidate:
    """Load the weights in the file at `path` into a network with `outputs` outputs, and return them.

    With `new_head`, the last layer may have another number of outputs in the file. `key` selects one of several sets of
    weights. Raises InputError, which names the model `name`.
    """
    with _naming_recipe_keys(name):
        chosen = chosen_weights(network, path, outputs=outputs if new_head else None, key=key)
        chosen.load(network)
        return chosen


@contextmanager
def _naming_recipe_keys(name: str) -> Iterator[None]:
    try:
        yield
    except SeveralWeightsError as error:
        hint = f'name the one you mean: weights_key = "{error.keys[0]}"'
        raise InputError(f"{name}: {error.message}", hint) from error
    except InputError as error:
        raise InputError(f"{name}: {error.message}", error.hint) from error
