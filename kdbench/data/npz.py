"""`npz:PATH`: the user's arrays, in one numpy archive. Pickled content is never loaded.

The archive holds `x_train`, `y_train`, `x_test` and `y_test`, or one of the two pairs, or only a test part, as `images`
and `labels` or `x` and `y`; capital X is the same. It may hold `class_names`, an array of text. Without `class_names`
classes are numbered up to the largest label, and there may be more.

`data.layout` defines the axes (`kdbench.data.reading.layouts`). Without it arrays are images (N,H,W), (N,H,W,C)
or (N,C,H,W) with 1, 3 or 4 channels, or rows of pixels (N,F): uint8, or floats from 0 to 1. Models are scored on such
floats as they are, whatever their range; for training they become round(255 · x). Labels are whole numbers from 0,
(N,) or (N,1). Floats as labels are the targets of a regression, (N,) or (N,D), in their own unit; `target_names` may
name the D components.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdbench.data import DATASETS
from kdbench.data.dataset import Dataset, Request
from kdbench.data.reading.arrays import KEYS, NAMES, dataset_from_arrays
from kdbench.errors import DataMissingError, InputError
from kdbench.files import archives, storage
from kdbench.files.nearby import expected_at
from kdbench.machine.loading import require_loadable

_COPIES = 2  # of all arrays in memory: as stored, and as model inputs, where grey images may become three channels

Array = npt.NDArray[np.generic]


@DATASETS.register_pattern(r"npz:.+", example="npz:PATH")
def load_npz(request: Request) -> Dataset:
    """Load an archive."""
    path = storage.with_home(request.name.removeprefix("npz:"))
    return dataset_from_arrays(_read(path), request, where=str(path), source=f"the user's archive {path.name}")


def _read(path: Path) -> dict[str, Array]:
    """Return the arrays of the archive that kdbench uses; others are not unpacked."""
    used = {key for pairs in KEYS.values() for pair in pairs for key in pair} | NAMES
    try:
        storage.require_file(path)
        members = {f"{key}.npy" for key in used}
        require_loadable(path, "keep fewer samples in it, or images as uint8", members=members, copies=_COPIES)
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise InputError(f"{path} holds a single array", "save named arrays with numpy.savez")
        with loaded as archive:
            return {key: archive[key] for key in archive.files if key in used}
    except FileNotFoundError:
        hint = expected_at(path, "name an .npz file after npz:", lambda other: other.suffix == ".npz")
        raise DataMissingError(f"no file {path}", hint) from None
    except archives.array_errors() as error:
        hint = "it may be truncated or hold Python objects; write plain arrays with numpy.savez"
        raise InputError(f"{path} is not a readable .npz archive: {error}", hint) from error
