"""The images, or other samples, that model files of unknown origin are scored or calibrated on, in their geometries."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from kdbench.errors import InputError
from kdbench.evaluate.class_map import ClassMap, class_map
from kdbench.measure.bench_model import TestSet
from kdbench.recipe import InputOptions
from kdbench.results.preprocessing import DataLayout, Geometry, InputSpec
from kdbench.results.records import Diagnostic

if TYPE_CHECKING:
    from kdbench.data import Dataset, Part, Pick, Split


@dataclass
class PartImages:
    """One part of a data set, loaded once in each geometry that models need; `pick` chooses some of its samples."""

    part: ClassVar["Part"]

    inputs: InputOptions
    pick: "Pick | None" = None
    _loaded: "dict[tuple[Geometry, DataLayout | None], Dataset]" = field(default_factory=dict)

    def load(self, geometry: Geometry, layout: DataLayout | None = None) -> "Dataset":
        """Return the data set with its images in `geometry`, or with its numbers in `layout`.

        Raises InputError for inputs that do not fit them.
        """
        from kdbench import data  # loading some sets imports torch, which synthetic inputs do not need

        assert self.inputs.data is not None
        if (geometry, layout) not in self._loaded:
            options: dict[str, Any] = {"geometry": geometry, "layout": layout or "auto", "floats": True, **self._source}
            with _hints_of_options():
                self._loaded[geometry, layout] = data.load(self.inputs.data, pick=self.pick, **options)
        return self._loaded[geometry, layout]

    def check(self) -> None:
        """Raise InputError if files of the data set are known to be missing or damaged, without loading it."""
        from kdbench import data

        assert self.inputs.data is not None
        with _hints_of_options():
            data.check(self.inputs.data, **self._source)

    @property
    def _source(self) -> dict[str, Any]:
        return {"root": self.inputs.data_root, "download": self.inputs.download, "parts": (self.part,)}

    @property
    def _first(self) -> "Dataset":
        return next(iter(self._loaded.values()))

    def class_map(self, id_: str, outputs: int | None, spec: InputSpec) -> ClassMap:
        """Return which outputs of a model stand for the classes of the loaded data."""
        occurring, inferred = np.unique(self.split().labels).tolist(), self._first.inferred_classes
        return class_map(id_, outputs, spec.labels, self.class_names, occurring, inferred=inferred)

    def split(self) -> "Split":
        """Return the samples in the geometry that was loaded first."""
        return only_part(self._first)

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """The diagnostics of the data."""
        remedy = "check whether they belong to the data"
        return tuple(Diagnostic(code="data", message=note, remedy=remedy) for note in self._first.notes)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self._first.class_names


class TestImages(PartImages):
    """The test part of a data set, to score models on."""

    __test__ = False  # pytest would take its name for a test class
    part: ClassVar["Part"] = "test"

    def test_set(self) -> TestSet:
        """Return the test set in all geometries and layouts that were loaded."""
        loaded = [(*key, dataset.test.inputs) for key, dataset in self._loaded.items() if dataset.test]
        images = {geometry: inputs for geometry, layout, inputs in loaded if layout is None}
        numbers = {(layout, geometry): inputs for geometry, layout, inputs in loaded if layout is not None}
        return TestSet(self.split().inputs, self.split().labels, self._first.known_classes, images, numbers)


class CalibrationImages(PartImages):
    """Samples of the training part of a data set, to calibrate a model on."""

    part: ClassVar["Part"] = "train"


@contextmanager
def _hints_of_options() -> Iterator[None]:
    """Replace the keys of a recipe in the hints of data sets by the command's options."""
    try:
        yield
    except InputError as error:
        hint = error.hint.replace("data.root", "data.data-root").replace("data.layout", "data.data-layout")
        hint = re.sub(r"data\.([\w-]+)(=true)?", r"--\1", hint)
        raise type(error)(error.message, hint) from error


def only_part(dataset: "Dataset") -> "Split":
    """Return the samples of a data set that was loaded with one part."""
    split = dataset.test or dataset.train
    assert split is not None, "loaders return the requested parts or raise"
    return split
