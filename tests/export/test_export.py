import copy
import importlib

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from torch import nn

from kdbench import models
from kdbench.export import onnx as exporting
from kdbench.export.onnx import ExportError, check_parity, export_onnx
from kdbench.modelfile.facts import inspect

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return models.build("convnet", SHAPE, 5, widths=[4, 8])


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "net.onnx"
    export_onnx(network, SHAPE, path)
    return path


def test_the_file_has_a_dynamic_batch_and_the_names_the_harness_reads(exported):
    session = ort.InferenceSession(exported)
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, logits.name) == ("input", "logits")
    assert isinstance(images.shape[0], str)
    assert images.shape[1:] == list(SHAPE)
    for batch in (1, 7):
        (result,) = session.run(None, {"input": np.zeros((batch, *SHAPE), np.float32)})
        assert result.shape == (batch, 5)


def test_a_valid_model_and_nothing_else_lies_there(exported):
    onnx.checker.check_model(exported, full_check=True)
    assert [path.name for path in exported.parent.iterdir()] == [exported.name]


def test_parity_holds_for_a_faithful_export(network, exported):
    parity = check_parity(network, exported, torch.rand(32, *SHAPE))
    assert parity.holds
    assert 0 <= parity.max_abs < 1e-5
    assert parity.samples == 32


def test_parity_fails_when_the_weights_differ(network, exported):
    other = models.build("convnet", SHAPE, 5, widths=[4, 8])
    assert not check_parity(other, exported, torch.rand(8, *SHAPE)).holds


@pytest.mark.parametrize(("wrong", "holds"), [((0, 0), True), ((1, 0), False), ((0, 1), False)])
def test_every_output_of_a_file_is_compared(tmp_path, wrong, holds):
    class Two(torch.nn.Module):
        def forward(self, x):
            return {"double": 2 * x + wrong[0], "sum": (x + x + x + wrong[1],), "place": x.argmax(1)}

    nodes = [onnx.helper.make_node("Add", ["x", "x"], ["double"]), onnx.helper.make_node("Sum", ["x"] * 3, ["sum"])]
    nodes.append(onnx.helper.make_node("ArgMax", ["x"], ["place"], axis=1, keepdims=0))
    x, *outputs = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64 if name == "place" else 1, None)
        for name in ("x", "double", "sum", "place")
    )
    graph = onnx.helper.make_graph(nodes, "two", [x], outputs)
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m"
    )
    assert check_parity(Two(), tmp_path / "m", torch.rand(40, 6)).holds is holds


def test_parity_admits_what_rounding_may_move_and_no_more(network, exported):
    images = torch.rand(8, *SHAPE)
    moved = copy.deepcopy(network)
    with torch.no_grad():
        next(parameter for name, parameter in moved.named_parameters() if name.endswith("head.2.bias")).add_(0.05)
    assert check_parity(moved, exported, images, rounding=torch.full((8,), 0.06)).holds
    assert not check_parity(moved, exported, images, rounding=torch.full((8,), 0.04)).holds
    assert not check_parity(moved, exported, images).holds


def test_one_image_in_ten_may_have_crossed_a_boundary(network, exported):
    class Crossing(nn.Module):
        def __init__(self, count: int) -> None:
            super().__init__()
            self.count = count

        def forward(self, images):
            off = torch.zeros(len(images), 1)
            off[: self.count] = 0.5
            return network(images) + off

    images, rounding = torch.rand(30, *SHAPE), torch.zeros(30)
    result = check_parity(Crossing(2), exported, images, rounding=rounding)
    assert result.holds
    assert result.max_abs == pytest.approx(0.5, abs=1e-4)
    assert not check_parity(Crossing(4), exported, images, rounding=rounding).holds
    assert not check_parity(Crossing(2), exported, images).holds


def test_parity_fails_when_a_logit_is_not_a_number(network, exported):
    images = torch.rand(8, *SHAPE)
    images[3] = float("nan")
    for rounding in (None, torch.zeros(8)):
        parity = check_parity(network, exported, images, rounding=rounding)
        assert np.isnan(parity.max_abs)
        assert not parity.holds


def test_dropout_and_batch_statistics_do_not_reach_the_file(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.9), nn.Linear(16, 3)
    ).train()
    export_onnx(network, SHAPE, tmp_path / "net.onnx")
    assert check_parity(network, tmp_path / "net.onnx", torch.rand(16, *SHAPE)).holds


def test_large_weights_go_into_a_second_file_that_the_first_refers_to(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_INLINE_LIMIT_BYTES", 0)
    network, path = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), tmp_path / "net.onnx"
    export_onnx(network, SHAPE, path)
    assert {file.name for file in tmp_path.iterdir()} == {"net.onnx", "net.onnx.data"}
    assert check_parity(network, path, torch.rand(4, *SHAPE)).holds


def test_torch_finds_its_composite_operators_once_for_a_file_also_if_that_fails(network, tmp_path, monkeypatch):
    utilities = importlib.import_module("torch._export.utils")
    matches, find = [], utilities._materialize_cpp_cia_ops
    monkeypatch.setattr(utilities, "_materialize_cpp_cia_ops", lambda: matches.append(find()))
    counted = utilities._materialize_cpp_cia_ops
    export_onnx(network, SHAPE, tmp_path / "net.onnx")
    assert len(matches) == 1
    with pytest.raises(ExportError):
        export_onnx(nn.Linear(3, 3), SHAPE, tmp_path / "other.onnx")
    assert utilities._materialize_cpp_cia_ops is counted


def test_what_cannot_be_exported_is_told_without_a_traceback(tmp_path):
    class DependsOnData(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :3] if images.sum() > 0 else images.flatten(1)[:, 3:6]

    with pytest.raises(ExportError, match="cannot be exported"):
        export_onnx(DependsOnData(), SHAPE, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_the_file_tells_no_path_of_the_machine_it_was_made_on(exported):
    for node in onnx.load(exported).graph.node:
        assert not any("/" in entry.value and ".py" in entry.value for entry in node.metadata_props), node.name
    assert exporting.__file__.rpartition("/")[0].encode() not in exported.read_bytes()


class ByLength(nn.Module):
    """Asks for the size of its batch as Python does, by which the exporter takes it for a constant."""

    def __init__(self):
        super().__init__()
        self.token, self.head = nn.Parameter(torch.randn(1, 1, 4)), nn.Linear(8, 3)

    def forward(self, inputs):
        return self.head(torch.cat([self.token.expand(len(inputs), -1, -1), inputs], dim=1).flatten(1))


class Tabled(nn.Module):
    """Makes a table in its first forward, which torch traces with tensors that hold no numbers."""

    def forward(self, inputs):
        if not hasattr(self, "table"):
            self.table = torch.arange(3.0)
        return inputs.flatten(1)[:, :3] * self.table


@pytest.mark.parametrize("kind", [ByLength, Tabled])
def test_unusual_networks_are_exported_for_any_batch(kind, tmp_path):
    torch.manual_seed(0)
    path, network = tmp_path / "n.onnx", kind()
    export_onnx(network, (1, 4), path)
    assert check_parity(network, path, torch.randn(5, 1, 4)).holds


class Scaled(nn.Module):
    """Learned single numbers beside buffers and numbers of formulas."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.full((1, 1, 1), 0.5))
        self.register_buffer("prior", torch.linspace(-1, 1, 5))
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.temperature = nn.Parameter(torch.full((1,), 2.0))
        self.act = nn.PReLU()
        self.head = nn.Linear(64, 5)

    def forward(self, x):
        x = self.act(x - self.mean).flatten(1) * self.scale + 0.25
        return self.head(x) / self.temperature + self.prior


def test_a_file_has_the_parameters_of_the_network(tmp_path):
    network = Scaled().eval()
    export_onnx(network, SHAPE, tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").parameters == sum(p.numel() for p in network.parameters())
