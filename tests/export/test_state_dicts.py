"""Weights from files into a network: strict, but for a new last layer where one is wanted."""

import pytest
import torch
from safetensors.torch import save_file

from kdbench import models
from kdbench.errors import InputError
from kdbench.export.state_dicts import load_weights


def network(classes=3, widths=(4, 8), seed=0):
    torch.manual_seed(seed)
    return models.build("convnet", (1, 8, 8), classes, widths=list(widths))


@pytest.fixture(params=["safetensors", "pth", "wrapped"])
def saved(request, tmp_path):
    def save(net):
        if request.param == "safetensors":
            path = tmp_path / "w.safetensors"
            save_file(net.state_dict(), path)
        else:
            path = tmp_path / "w.pth"
            state = net.state_dict()
            torch.save(state if request.param == "pth" else {"state_dict": state, "epoch": 3}, path)
        return path

    return save


def test_the_weights_are_those_of_the_file(saved):
    original, loaded = network(seed=1), network(seed=2)
    assert load_weights(loaded, saved(original)) == ()
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in original.state_dict().items())


def test_a_last_layer_of_other_classes_stays_fresh_where_that_is_wanted(saved):
    original, loaded = network(classes=10, seed=1), network(classes=3, seed=2)
    before = {name: value.clone() for name, value in loaded.state_dict().items()}
    path = saved(original)
    with pytest.raises(InputError, match=r"10, 8\) in the file, \(3, 8\) in the network"):
        load_weights(loaded, path)
    fresh = load_weights(loaded, path, outputs=3)
    assert len(fresh) == 2
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, before[name] if name in fresh else original.state_dict()[name]), name


@pytest.mark.parametrize("widths", [(4, 6), (3, 8), (5, 8)])
def test_other_layers_of_another_width_are_refused(saved, widths):
    with pytest.raises(InputError, match="of another shape") as caught:
        load_weights(network(widths=widths), saved(network(classes=10)), outputs=3)
    assert "blocks" in caught.value.message or "stem" in caught.value.message


def test_what_is_missing_or_unexpected_is_named(saved):
    with pytest.raises(InputError, match=r"missing \(.*blocks.2") as caught:
        load_weights(network(widths=(4, 8, 8)), saved(network()), outputs=3)
    assert "of this network" in caught.value.message
    with pytest.raises(InputError, match=r"unexpected \(.*blocks.2"):
        load_weights(network(), saved(network(widths=(4, 8, 8))), outputs=3)


def test_integers_are_no_weights(tmp_path):
    """A quantized network's, which its scales turn into weights."""
    state = network().state_dict()
    first = next(name for name, value in state.items() if value.is_floating_point())
    torch.save({**state, first: state[first].to(torch.int8)}, tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"1 of another type \(.*int8 in the file, float32 in the network"):
        load_weights(network(), tmp_path / "w.pth")


def test_half_precision_becomes_single(tmp_path):
    state = network(seed=1).half().state_dict()
    torch.save(state, tmp_path / "w.pth")
    loaded = network(seed=2)
    load_weights(loaded, tmp_path / "w.pth")
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, state[name].to(value.dtype)), name
