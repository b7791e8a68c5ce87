"""Tokens that are the cells of an image: class tokens beside them, and orders that are no map."""

from functools import partial

import pytest
import torch
from models.features.probed import layout
from torch import Tensor, nn

from kdbench.errors import InputError
from kdbench.models.features.layouts import Layout


class Pooling(nn.Module):
    """Two stages of tokens with a class token, as PiT: the second one's cells are a convolution of the first one's."""

    def __init__(self, *, mixed=False):
        super().__init__()
        layer = partial(nn.TransformerEncoderLayer, 8, 2, 8, batch_first=True, dropout=0.0)
        self.embed, self.first, self.second = nn.Conv2d(3, 8, 2, 2), layer(), layer()
        self.pool, self.token = nn.Conv2d(8, 8, 2, 2), nn.Parameter(torch.randn(1, 1, 8))
        self.head, self.mixed = nn.Linear(8, 3), mixed

    def forward(self, images):
        cells = self.embed(images)
        tokens = self.first(torch.cat([self.token.expand(len(images), -1, -1), cells.flatten(2).mT], dim=1))
        cells = self.pool(tokens[:, 1:].mT.reshape(cells.shape)).flatten(2).mT
        tokens = torch.cat([tokens[:, :1], cells], dim=1)
        return self.head(self.second(tokens + tokens.mean(dim=1, keepdim=True) if self.mixed else tokens)[:, 0])


def test_a_class_token_of_an_earlier_stage_is_left_out_beside_its_map():
    """By then it depends on the sample, so that its values do not tell."""
    assert layout(Pooling().eval(), "second") == Layout(channel_axis=2, before=1, grid=(2, 2))
    assert layout(Pooling().eval(), "second", stated="class_token").class_token


def test_tokens_among_which_may_be_a_class_token_are_refused():
    with pytest.raises(InputError, match="its tokens may include class tokens of an earlier layer") as caught:
        layout(Pooling(mixed=True).eval(), "second")
    assert 'student_layout = "NLC"' in caught.value.hint
    assert layout(Pooling(mixed=True).eval(), "second", stated="NLC").before == 0
    assert layout(Pooling(mixed=True).eval(), "first").before == 1


class Patchwork(nn.Module):
    """Tokens of an image in an order, with class tokens at the end."""

    def __init__(self, order: list[int], classes: int) -> None:
        super().__init__()
        self.order, self.patches = order, nn.Conv2d(3, 6, 2, 2)
        self.classes, self.norm = nn.Parameter(torch.randn(1, classes, 6)), nn.LayerNorm(6)
        self.mix = nn.TransformerEncoderLayer(6, 2, 6, batch_first=True)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)[:, self.order]
        tokens = self.norm(torch.cat([tokens, self.classes.expand(len(images), -1, -1)], dim=1))
        return self.mix(tokens).mean(dim=1)[:, :3]


def test_class_tokens_may_come_last_and_cells_in_an_order_that_is_no_map():
    rows = list(range(16))
    assert layout(Patchwork(rows, 2), "mix") == Layout(channel_axis=2, after=2, grid=(4, 4))
    assert layout(Patchwork(rows, 0), "mix") == Layout(channel_axis=2, grid=(4, 4))
    columns = [4 * (place % 4) + place // 4 for place in rows]
    assert layout(Patchwork(columns, 1), "mix") == Layout(channel_axis=2, after=1)


class Unrolled(nn.Module):
    """Cells of an image, row by row until blocks take them in another order, as in Hiera (Ryali et al. 2023)."""

    def __init__(self, order: list[int], *, restores: bool) -> None:
        super().__init__()
        self.order, self.back = order, [order.index(place) for place in range(16)] if restores else list(range(16))
        self.patches, self.embed, self.places = nn.Conv2d(3, 6, 2, 2), nn.Linear(6, 6), torch.randn(1, 16, 6)
        self.mix, self.norm = nn.TransformerEncoderLayer(6, 2, 6, batch_first=True), nn.LayerNorm(6)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.embed(self.patches(images).flatten(2).transpose(1, 2)) + self.places
        return self.norm(self.mix(tokens[:, self.order])[:, self.back]).mean(dim=1)[:, :3]


ROWS = list(range(16))
WINDOWS = [8 * (place // 8) + 4 * (place // 2 % 2) + 2 * (place // 4 % 2) + place % 2 for place in ROWS]
SNAKE = [4 * (place // 4) + (3 - place % 4 if place // 4 == 1 else place % 4) for place in ROWS]


@pytest.mark.parametrize("order", [WINDOWS, SNAKE, ROWS[::-1]])
def test_cells_that_a_network_reorders_on_the_way_are_no_map_until_they_are_back(order):
    network = Unrolled(order, restores=True)
    assert layout(network, "embed") == Layout(channel_axis=2, grid=(4, 4))
    assert layout(network, "mix") == Layout(channel_axis=2)
    assert layout(network, "norm") == Layout(channel_axis=2, grid=(4, 4))
    assert layout(Unrolled(order, restores=False), "norm") == Layout(channel_axis=2)
    assert layout(Unrolled(ROWS, restores=False), "norm") == Layout(channel_axis=2, grid=(4, 4))
