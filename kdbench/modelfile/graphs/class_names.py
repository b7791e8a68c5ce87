"""The names of the classes that a classifier of ai.onnx.ml holds, in the order of its scores."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kdbench.modelfile.formats.external_data import is_external
from kdbench.modelfile.graphs.graph import LOOKUPS, PASSING, attribute_of, constants_of, passed_through

if TYPE_CHECKING:
    import onnx

_DOMAIN = "ai.onnx.ml"
_STRING = 8  # ONNX's element type


def class_names_of(model: "onnx.ModelProto") -> tuple[str, ...]:
    """Return the names of a model's classes; empty if it holds none, or several classifiers have different ones.

    Converters of scikit-learn write the names in the order of the classifier's scores. That order is alphabetical, and
    usually not the order of the data's class numbers. Names that only number the scores from 0 are left out.
    """
    lists = set(_lists_of_names(model))
    names = lists.pop() if len(lists) == 1 else ()
    numbered = names == tuple(map(str, range(len(names))))
    return names if len(set(names)) == len(names) and not numbered else ()


def _lists_of_names(model: "onnx.ModelProto") -> Iterator[tuple[str, ...]]:
    """Yield the names in the attributes of classifiers, and in the tables from which an output takes the best one."""
    for node in model.graph.node:
        if node.domain == _DOMAIN and (names := attribute_of(node, "classlabels_strings", ())):
            yield _decoded(names)
    constants = constants_of(model)
    producers = {name: node for node in model.graph.node for name in node.output}
    for output in model.graph.output:
        for node in passed_through(output.name, producers, PASSING):
            table = constants.get(node.input[0]) if node.op_type in LOOKUPS and node.input else None
            if table is not None and table.data_type == _STRING and not is_external(table):
                yield _decoded(table.string_data)


def _decoded(names: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(name.decode("utf-8", "replace") for name in names)
