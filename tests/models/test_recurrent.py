"""Recurrent networks: against a loop over torch's cells, by hand-counted MACs, and what they refuse."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from kdbench.errors import InputError
from kdbench.export.onnx import export_onnx
from kdbench.macs.onnx_counter import count_onnx
from kdbench.macs.torch_counter import count_module
from kdbench.models import build


def state_after(cell, weights, suffix, steps):
    """Run one layer's cell over `steps` (T, B, F), from zeros."""
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(cell, kind).data.copy_(weights[f"{kind}_l0{suffix}"])
    state = None
    for step in steps:
        state = cell(step, state)
    return state[0] if isinstance(state, tuple) else state


@pytest.mark.parametrize(("name", "cell"), [("gru", nn.GRUCell), ("lstm", nn.LSTMCell)])
def test_the_last_states_of_both_directions_are_those_of_a_loop_over_cells(name, cell):
    network = build(name, (7, 5), 3, hidden=4, bidirectional=True).eval()
    weights = dict(network.blocks[0].recurrent.named_parameters())
    x = torch.randn(2, 7, 5)
    with torch.no_grad():
        forward = state_after(cell(5, 4), weights, "", x.unbind(1))
        backward = state_after(cell(5, 4), weights, "_reverse", x.flip(1).unbind(1))
        expected = network.head(torch.cat([forward, backward], dim=1))
        torch.testing.assert_close(network(x), expected)


def by_hand(gates, steps, features, hidden, layers, directions, classes):
    """One product per gate, step, direction and cell of the input and recurrent weights; then the head."""
    widths = [features] + [directions * hidden] * (layers - 1)
    recurrent = sum(steps * directions * gates * hidden * (width + hidden) for width in widths)
    return recurrent + directions * hidden * classes


@pytest.mark.parametrize(
    ("name", "shape", "options", "macs"),
    [
        ("gru", (3, 5), {"hidden": 4, "layers": 2, "bidirectional": True}, by_hand(3, 3, 5, 4, 2, 2, 3)),
        ("lstm", (4,), {"hidden": 4, "vocabulary": 11, "embedding": 8}, by_hand(4, 4, 8, 4, 1, 1, 3)),
    ],
)
def test_module_and_file_give_the_same_answers_and_counts_at_any_batch(name, shape, options, macs, tmp_path):
    network, path = build(name, shape, 3, **options).eval(), tmp_path / "m.onnx"
    dtype = torch.int64 if "vocabulary" in options else torch.float32
    export_onnx(network, shape, path, dtype)
    session = onnxruntime.InferenceSession(path)
    for batch in (1, 5):
        x = torch.randint(0, 11, (batch, *shape)) if dtype == torch.int64 else torch.randn(batch, *shape)
        (logits,) = session.run(None, {"input": x.numpy()})
        np.testing.assert_allclose(logits, network(x).detach().numpy(), atol=1e-6)
    assert (count_module(network, shape).macs, count_onnx(path).macs) == (macs, macs)


@pytest.mark.parametrize(
    ("name", "shape", "options", "hint"),
    [
        ("gru", (20,), {}, "vocabulary"),
        ("lstm", (20, 5), {"vocabulary": 9}, "leave it out"),
        ("gru", (3, 8, 8), {}, "convnet"),
        ("convnet", (20,), {}, "dense"),
        ("resnet8", (20, 5), {}, "gru"),
        ("torchvision/resnet18", (20,), {}, "dense"),
        ("fused", (20,), {"trunk": "convnet"}, "dense"),
    ],
)
def test_samples_of_another_kind_are_refused_with_a_model_for_them(name, shape, options, hint):
    with pytest.raises(InputError, match="takes") as caught:
        build(name, shape, 3, **options)
    assert hint in caught.value.hint


@pytest.mark.parametrize(("name", "shape"), [("dense", (20,)), ("20-7-3", (20,)), ("dense", (4, 5)), ("fused", (20,))])
def test_dense_networks_take_numbers_of_any_shape(name, shape):
    options = {"trunk": "dense"} if name == "fused" else {}
    assert build(name, shape, 3, **options)(torch.zeros(2, *shape)).shape == (2, 3)
