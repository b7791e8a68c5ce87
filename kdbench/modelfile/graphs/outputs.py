"""Which output of a model holds its logits, and in what form: read from the graph before each output."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from kdbench.modelfile.formats.external_data import is_external
from kdbench.modelfile.graphs.graph import (
    LOOKUPS,
    PASSING,
    attribute_of,
    constants_of,
    leads_to,
    node_behind,
    passed_through,
    selected_column,
)

if TYPE_CHECKING:
    import onnx

Shape = tuple[int | None, ...]

Form = Literal[
    "logits", "probabilities", "rounded_probabilities", "scores", "class", "ranking",
    "binary_logit", "binary_probability", "binary_rounded_probability", "binary_score", "numbers",
]  # fmt: skip
"""What an output holds of each sample.

One value per class: `logits`, `probabilities`, `rounded_probabilities` on the grid of integers, or `scores` that only
rank the classes. `class` is the number of the best class, `ranking` the numbers of the best ones, best first. One value
for two classes, of which it describes the second: `binary_logit`, `binary_probability`, `binary_rounded_probability`,
or `binary_score`, which only has the sign of a logit. The predictions of a regression: `numbers`.
"""

_FORMS: Mapping[str, Form] = {"Softmax": "probabilities", "QLinearSoftmax": "probabilities", "ArgMax": "class"}
NUMBERS_OF_CLASSES = {"class", "ranking"}
_SIGMOIDS = {"Sigmoid", "HardSigmoid", "QLinearSigmoid"}
_SIGNED = {"Tanh", "Softsign"}  # from -1 to 1, while logits have no bounds
_KEEPING_ORDER = {*PASSING, *_SIGMOIDS, "Softmax", "QLinearSoftmax", "LogSoftmax", "Normalizer"}
_OF_LOGARITHMS = re.compile("log[ _-]?prob|logit", re.IGNORECASE)  # in names of outputs
_ZIPMAP = "convert it with options={'zipmap': False}"


@dataclass(frozen=True)
class Output:
    """An output of a model file: `shape` as declared, batch first, None for an open dimension.

    `form` is what its values are, `quantization` the scale and the zero point of integers, `unusable` why the output
    cannot be scored: the reason, a colon, and what to do. If this output names the best classes of another output with
    one value per class, `of_scores` is the number of its classes. `others` are the inputs that the output needs besides
    the measured one.
    """

    name: str
    shape: Shape = ()
    form: Form = "logits"
    quantization: tuple[float, int] | None = None
    unusable: str | None = None
    of_scores: int | None = None
    others: tuple[str, ...] = ()

    @property
    def width(self) -> int | None:
        """The number of values per sample; None where it is open or no shape is declared."""
        inner = self.shape[1:]
        return None if None in inner or not self.shape else math.prod(size or 1 for size in inner)

    @property
    def classes(self) -> int | None:
        """The number of classes; None where the shape of the output is unknown."""
        if self.form in {*NUMBERS_OF_CLASSES, "numbers"}:
            return None
        return 2 if self.form.startswith("binary") else self.width

    @property
    def scored_as(self) -> Form:
        """What its values are with one column per class."""
        columns: dict[Form, Form] = {
            "binary_logit": "logits",
            "binary_probability": "probabilities",
            "binary_rounded_probability": "rounded_probabilities",
            "binary_score": "scores",
        }
        return columns.get(self.form, self.form)

    @property
    def shown(self) -> str:
        """Its name and shape, for messages."""
        return f"{self.name!r} ({'x'.join('?' if size is None else str(size) for size in self.shape) or 'no shape'})"


def outputs_of(model: "onnx.ModelProto") -> tuple[Output, ...]:
    """Return every output of a model with what it holds."""
    producers = {name: node for node in model.graph.node for name in node.output}
    constants = constants_of(model)
    outputs = tuple(_output(value, producers, constants) for value in model.graph.output)
    if any(node.domain == "ai.onnx.ml" for node in model.graph.node):
        outputs = tuple(map(_of_a_converter, outputs))
    return tuple(
        replace(output, of_scores=_classes_ranked(output, outputs, producers, constants))
        if output.form in NUMBERS_OF_CLASSES
        else output
        for output in outputs
    )


def _output(
    value: "onnx.ValueInfoProto", producers: "Mapping[str, onnx.NodeProto]", constants: "Mapping[str, onnx.TensorProto]"
) -> Output:
    if value.type.WhichOneof("value") != "tensor_type":
        return Output(value.name, unusable=_no_tensor(value, producers))
    element, shape = value.type.tensor_type.elem_type, declared_shape(value)
    if (reason := _no_row(element, shape)) is not None:
        return Output(value.name, shape or (None,), unusable=reason)
    node, quantization, rounded = node_behind(value.name, producers, constants)
    integer = element not in {1, 10, 11, 16}  # float, float16, double, bfloat16
    if node is not None and node.op_type == "TopK":
        return _ranking(value.name, shape, node, producers)
    if node is not None and (decisions := _decision_values(value.name, shape, node, producers)) is not None:
        return decisions
    form: Form = "logits"
    if node is not None and node.op_type in _FORMS:
        form = _FORMS[node.op_type]
    elif element in {6, 7, 9} and quantization is None and shape and math.prod(size or 2 for size in shape[1:]) == 1:
        form = "class"  # int32, int64 or bool, one a sample
    output = Output(value.name, shape, form, quantization)
    bounded = node is not None and node.op_type in _SIGMOIDS | _SIGNED
    votes = any(map(_is_svm_without_probabilities, producers.values()))
    if form == "logits" and output.width == 1:
        return _of_two_classes(output, node, producers, constants, rounded=rounded)
    if form == "logits" and (bounded or votes or (integer and quantization is None)):
        form = "scores"
    if form == "probabilities" and rounded:
        form = "rounded_probabilities"
    return Output(value.name, shape, form, quantization)


def _of_a_converter(output: Output) -> Output:
    """Return an output of a file of ai.onnx.ml, whose converters call it probabilities even if it holds decisions.

    Those of a ridge classifier, a hinge loss or a perceptron have the graph of raw scores of a logistic regression. As
    declared probabilities, they are scores unless their values add up to 1. Logarithms of probabilities stay logits.
    """
    if "probabilit" not in output.name or _OF_LOGARITHMS.search(output.name) or output.unusable is not None:
        return output
    forms: dict[Form, Form] = {"logits": "probabilities", "binary_logit": "binary_score"}
    return replace(output, form=forms.get(output.form, output.form))


def _classes_ranked(
    output: Output,
    outputs: Sequence[Output],
    producers: "Mapping[str, onnx.NodeProto]",
    constants: "Mapping[str, onnx.TensorProto]",
) -> int | None:
    """Return the number of classes of the output whose scores `output` ranks; None if there is no such output.

    The scores are what ArgMax or TopK reads, or what a classifier of ai.onnx.ml returns beside the label. None, too, if
    the file gives the classes other numbers than those of the scores, such as the numbers of superclasses.
    """
    ranked: set[str] = set()
    name, seen = output.name, set[str]()
    while (node := producers.get(name)) is not None and name not in seen:
        seen.add(name)
        if node.op_type in {"ArgMax", "TopK"}:
            ranked.update(_before_activation(read, producers) for read in node.input[:1])
            break
        if node.op_type.endswith("Classifier"):
            labels = attribute_of(node, "classlabels_ints", ()) or attribute_of(node, "classlabels_int64s", ())
            ranked.update(node.output[1:] if list(labels) == list(range(len(labels))) else ())
            break
        if node.op_type not in {*PASSING, *LOOKUPS, "Slice", "Split"} or not node.input:
            break
        name = node.input[0]
        if node.op_type in LOOKUPS and name in constants:  # a table of the classes' numbers
            if len(node.input) < 2 or not _counts_up(constants[name]):
                break
            name = node.input[1]
    rows = (other for other in outputs if other.form not in NUMBERS_OF_CLASSES and other.unusable is None)
    several = (other for other in rows if other.classes is not None and other.classes > 1)
    return next((other.classes for other in several if _before_activation(other.name, producers) in ranked), None)


def _counts_up(table: "onnx.TensorProto") -> bool:
    """Return whether a stored table has the numbers from 0 in order."""
    from onnx import numpy_helper

    if is_external(table):
        return False
    numbers: list[Any] = numpy_helper.to_array(table).reshape(-1).tolist()
    return numbers == list(range(len(numbers)))


def _before_activation(name: str, producers: "Mapping[str, onnx.NodeProto]") -> str:
    """Return the value from which `name` is computed by operators that keep the order of the classes."""
    for node in passed_through(name, producers, _KEEPING_ORDER):
        if node.op_type in _KEEPING_ORDER and node.input:
            name = node.input[0]
    return name


def _decision_values(
    name: str, shape: Shape, node: "onnx.NodeProto", producers: "Mapping[str, onnx.NodeProto]"
) -> Output | None:
    """Return an output that holds the scores of a classifier of ai.onnx.ml, if they are no logits; None for others."""
    if node.domain != "ai.onnx.ml" or not leads_to(name, node.output[-1], producers):
        return None
    if _is_svm_without_probabilities(node):
        reason = "holds a decision value for each pair of classes: score the label, or train with probability=True"
        return Output(name, shape or (None,), unusable=reason)
    labels = [*attribute_of(node, "classlabels_ints", ()), *attribute_of(node, "classlabels_int64s", ())]
    labels += attribute_of(node, "classlabels_strings", ())
    raw = len(labels) == 2 and attribute_of(node, "post_transform", b"NONE") == b"NONE"
    boosted = node.op_type == "TreeEnsembleClassifier" and len(set(attribute_of(node, "class_ids", ()))) == 1
    if raw and (boosted or node.op_type == "LinearClassifier"):  # (-d, d) for the logit d, whose softmax is another
        return Output(name, shape, "scores")
    return None


def _is_svm_without_probabilities(node: "onnx.NodeProto") -> bool:
    return node.op_type == "SVMClassifier" and not attribute_of(node, "prob_a", ())


def _no_tensor(value: "onnx.ValueInfoProto", producers: "Mapping[str, onnx.NodeProto]") -> str:
    """Describe an output that is not a tensor, and what to do."""
    kind = value.type.WhichOneof("value")
    producer = producers.get(value.name)
    if kind is None:
        return "has no declared type: add it: onnx.save(onnx.shape_inference.infer_shapes(onnx.load(PATH)), PATH)"
    if producer is not None and producer.op_type == "ZipMap":
        return f"is a list of dictionaries, one per sample, not a tensor: {_ZIPMAP}"
    return f"is a {kind.split('_')[0]}, not a tensor: export the tensor (batch, classes) itself"


def _no_row(element: int, shape: Shape) -> str | None:
    """Return the reason why a tensor cannot hold one value per class, with a remedy; None if it can."""
    if element == 8:  # text
        return "holds names of classes: export the tensor (batch, classes) itself, or name another output"
    if sum(size is None or size > 1 for size in shape[1:]) > 1:
        return (
            "does not hold one value per class: segmentation and detection are not scored, and --no-accuracy measures "
            "the rest; if another output holds the classes, name it with --output"
        )
    return None


def _ranking(name: str, shape: Shape, top_k: "onnx.NodeProto", producers: "Mapping[str, onnx.NodeProto]") -> Output:
    if leads_to(name, top_k.output[0], producers):
        return Output(name, shape, unusable="holds the best values without their classes: use the indices")
    if shape[1:] != (1,) and not attribute_of(top_k, "sorted", 1):
        return Output(name, shape, unusable="holds the best classes in any order: export TopK with sorted=1")
    return Output(name, shape, "ranking")


def _of_two_classes(
    output: Output,
    node: "onnx.NodeProto | None",
    producers: "Mapping[str, onnx.NodeProto]",
    constants: "Mapping[str, onnx.TensorProto]",
    *,
    rounded: bool,
) -> Output:
    """Return an output of one value a sample: about the second class, unless it is the first column of a softmax."""
    if node is None:
        return replace(output, form="binary_logit")
    if node.op_type in _SIGNED:
        return replace(output, form="binary_score")
    source, column, rounded_before = selected_column(output.name, node, producers, constants)
    softmax = source is not None and _FORMS.get(source.op_type) == "probabilities"
    if not softmax and node.op_type not in _SIGMOIDS:
        return replace(output, form="binary_logit")
    if column in {0, -2}:
        reason = "holds only the probability of the first class: export that of the second class, or both"
        return Output(output.name, output.shape, unusable=reason)
    rounded = rounded or rounded_before
    return replace(output, form="binary_rounded_probability" if rounded else "binary_probability")


def declared_shape(value: "onnx.ValueInfoProto") -> Shape:
    """Return the shape that the file declares, None for an open dimension; empty if it declares none."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims)
