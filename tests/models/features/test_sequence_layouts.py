"""Layouts of layers on sequences, their order and their class tokens."""

import pytest
import torch
from models.features.probed import layout
from torch import Tensor, nn

from kdbench.models.features.layouts import Layout

SEQUENCES = torch.randn(2, 6, 6)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv1d(6, 6, 3, padding=1), Layout(channel_axis=1, in_order=True)),
        (nn.Sequential(nn.Conv1d(6, 6, 1), nn.BatchNorm1d(6), nn.ReLU()), Layout(channel_axis=1, in_order=True)),
        (nn.LSTM(6, 6, batch_first=True), Layout(channel_axis=2, in_order=True, first_of_several=True)),
        (nn.GRU(6, 6), Layout(channel_axis=2, batch_axis=1, in_order=True, first_of_several=True)),
        (nn.TransformerEncoderLayer(6, 2, 6, batch_first=True), Layout(channel_axis=2, in_order=True)),
        (nn.Linear(6, 6), Layout(channel_axis=2, in_order=True)),
    ],
)
def test_layers_of_sequences_have_channels_where_their_kind_has_them(layer, expected):
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, inputs: Tensor) -> Tensor:
            steps_first = isinstance(self.layer, nn.GRU)
            output = self.layer(inputs.transpose(0, 1) if steps_first else inputs)
            output = output[0] if isinstance(output, tuple) else output
            return output.sum(dim=0 if steps_first else 1)[:, :3]

    result = layout(Network(), "layer", SEQUENCES)
    assert result == expected
    output = layer(SEQUENCES.transpose(0, 1) if result.batch_axis else SEQUENCES)
    assert result.canonical(output).shape == (2, 6, 6)


class Steps(nn.Module):
    """Embeds the steps of a sequence, and passes them through layers, reordered or with a token more on the way."""

    def __init__(self, first=None, then=None, end=None, *, ids=True):
        super().__init__()
        self.embed = nn.Embedding(20, 8) if ids else nn.Linear(5, 8)
        self.mix = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True, dropout=0.0)
        self.last, self.head = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 3)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.orders = [order or (lambda tokens: tokens) for order in (first, then, end)]

    def forward(self, inputs):
        first, then, end = self.orders
        tokens = end(self.mix(then(self.embed(first(inputs)))))
        return self.head(self.last(tokens)[0].mean(dim=1))


def backwards(tokens):
    return tokens.flip(1)


def in_pairs(tokens):
    return tokens[:, [1, 0, 3, 2, 5, 4]]


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize(
    ("orders", "layer", "reordered"),
    [
        ({}, "last", False),
        ({"first": backwards}, "embed", True),
        ({"first": backwards}, "last", True),
        ({"then": in_pairs}, "embed", False),
        ({"then": in_pairs}, "mix", True),
        ({"then": in_pairs, "end": in_pairs}, "last", False),
        ({"first": backwards, "end": backwards}, "last", False),
        ({"end": backwards}, "mix", False),
        ({"end": backwards}, "last", True),
    ],
)
def test_steps_of_a_sequence_in_another_order_are_known(orders, layer, reordered, ids):
    torch.manual_seed(0)
    inputs = torch.randint(20, (2, 6)) if ids else torch.randn(2, 6, 5)
    result = layout(Steps(**orders, ids=ids).eval(), layer, inputs)
    assert (result.in_order, result.reordered) == (not reordered, reordered)
    assert layout(Steps(**orders, ids=ids).eval(), layer, inputs, stated="NLC").in_order


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_class_tokens_of_sequences_are_left_out(ids, last):
    def with_token(tokens):
        token = network.token.expand(tokens.shape[0], -1, -1)
        return torch.cat([tokens, token] if last else [token, tokens], dim=1)

    torch.manual_seed(0)
    network = Steps(then=with_token, ids=ids).eval()
    result = layout(network, "mix", torch.randint(20, (2, 6)) if ids else torch.randn(2, 6, 5))
    assert (result.before, result.after, result.in_order) == (int(not last), int(last), True)
