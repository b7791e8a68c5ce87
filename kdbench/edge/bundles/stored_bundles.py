"""The bundles that a run has made: what `merge` needs of them, kept in the run's folder.

RUN/bundles/ID.json is the manifest, RUN/bundles/ID.npz the host's outputs `N` and the labels `N-labels` of model number
N, RUN/bundles/ID.toml the target.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdbench.edge.bundles.bundle import TARGET, Bundle
from kdbench.edge.exchange.archive import sha256
from kdbench.edge.exchange.plan import MANIFEST, Plan, plan_of
from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.results.run_folder import RunFolder
from kdbench.results.samples import read_samples, write_samples

_MAKE_AGAIN = "make the bundle again, and measure it"


@dataclass(frozen=True)
class KnownBundle:
    """A bundle that the run has made: its plan, outputs and labels as in `Bundle`, and the target's file."""

    plan: Plan
    outputs: dict[str, NDArray[np.generic]]
    labels: dict[str, NDArray[np.int64]]
    target: Path


@storage.advising("and copy the run there")
def keep_bundle(bundle: Bundle, folder: RunFolder) -> None:
    """Keep what merging needs of a bundle in the run's folder."""
    storage.make_folder(folder.bundles)
    manifest = bundle.members[MANIFEST]
    numbers = {model.id: str(number) for number, model in enumerate(bundle.plan.models)}
    arrays = {numbers[id_]: outputs for id_, outputs in bundle.outputs.items()}
    arrays |= {_labels(numbers[id_]): labels for id_, labels in bundle.labels.items()}
    write_samples(_arrays(folder, bundle.id), arrays)
    for name, member in ((f"{bundle.id}.toml", bundle.members[TARGET]), (f"{bundle.id}.json", manifest)):
        assert isinstance(member, bytes)
        with storage.writing(folder.bundles / name) as stream:
            stream.write(member)


def known_bundle(id_: str, folder: RunFolder) -> KnownBundle:
    """Return the bundle of that id; raises InputError for one that this run has not made, or that is not as it was."""
    file = _manifest(folder, id_)
    if not file.is_file():
        hint = "merge it into the run from which the bundle was made; that run's folder keeps its bundles"
        raise InputError(f"{folder.path} has not made the bundle {id_[:12]}…", hint)
    if sha256(file) != id_:
        raise InputError(f"{file} was changed", _MAKE_AGAIN)
    plan = plan_of(file.read_text(encoding="utf-8"), str(file))
    arrays, target = read_samples(_arrays(folder, id_)), folder.bundles / f"{id_}.toml"
    numbers = {model.id: str(number) for number, model in enumerate(plan.models)}
    if not target.is_file() or not arrays.keys() >= {*numbers.values()}:
        raise InputError(f"{folder.bundles} lacks a part of the bundle {id_[:12]}…", _MAKE_AGAIN)
    if sha256(target) != plan.files[TARGET]:
        raise InputError(f"{target} was changed", _MAKE_AGAIN)
    outputs = {id_: arrays[number] for id_, number in numbers.items()}
    labels = {id_: arrays[_labels(number)] for id_, number in numbers.items() if _labels(number) in arrays}
    return KnownBundle(plan, outputs, labels, target)


def _manifest(folder: RunFolder, id_: str) -> Path:
    return folder.bundles / f"{id_}.json"


def _labels(number: str) -> str:
    return f"{number}-labels"


def _arrays(folder: RunFolder, id_: str) -> Path:
    return folder.bundles / f"{id_}.npz"
