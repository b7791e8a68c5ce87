"""The canonical form of a feature, by its layout."""

import torch

from kdbench.models.features.layouts import Layout, as_map


def test_canonical_forms():
    maps, tokens = torch.randn(2, 5, 7, 3), torch.randn(2, 1 + 6, 4)
    assert torch.equal(Layout(channel_axis=3).canonical(maps), maps.permute(0, 3, 1, 2))
    assert Layout(channel_axis=1).canonical(maps) is maps
    cells = Layout(channel_axis=2, before=1, grid=(2, 3))
    assert torch.equal(cells.canonical(tokens), tokens[:, 1:])
    assert torch.equal(as_map(cells.canonical(tokens), cells)[:, :, 1, 2], tokens[:, 6])
    assert torch.equal(Layout(channel_axis=2, before=1, class_token=True).canonical(tokens), tokens[:, 0])
    assert torch.equal(Layout(channel_axis=1).canonical(tokens), tokens.transpose(1, 2))
    assert torch.equal(Layout(channel_axis=2, batch_axis=1).canonical(tokens), tokens.transpose(0, 1))
    volumes = torch.randn(2, 3, 4, 5, 6)
    assert torch.equal(Layout(channel_axis=4).canonical(volumes), volumes.permute(0, 4, 1, 2, 3))
