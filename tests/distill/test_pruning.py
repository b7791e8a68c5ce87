import re
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from kdbench.distill.pruning import prune, rebuild
from kdbench.errors import InputError
from kdbench.extras import install
from kdbench.recipe import Prune

SIDE = 8


def network(hidden=12, outputs=10):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, outputs),
    ).eval()  # fmt: skip


def example():
    return torch.rand(4, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def macs(first, second, outputs):
    """Return the MACs of `network` with these numbers of channels."""
    return SIDE * SIDE * 9 * (first + first * second) + second * outputs


def channels(network):
    return network[0].out_channels, network[2].out_channels


def test_the_channels_of_least_magnitude_go_and_dead_ones_change_no_output():
    whole, dead = network(), [1, 2, 7, 11]
    with torch.no_grad():
        whole[0].weight[dead], whole[0].bias[dead], whole[2].weight[:, dead] = 0, 0, 0  # what depends on a channel
    pruned = network()
    pruned.load_state_dict(whole.state_dict())
    done = prune(pruned, example(), Prune(macs=0.8, round_to=4), "s")
    assert channels(pruned) == (8, 16)
    torch.testing.assert_close(pruned(example()), whole(example()))
    torch.testing.assert_close(pruned[0].weight, whole[0].weight[[i for i in range(12) if i not in dead]])
    assert (done.macs_before, done.macs) == (macs(12, 16, 10), macs(8, 16, 10))


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize(("share", "round_to"), [(0.7, 1), (0.4, 2), (0.25, 4)])
def test_no_more_than_the_share_remains_in_multiples_of_channels(scope, share, round_to):
    pruned = network()
    done = prune(pruned, example(), Prune(macs=share, scope=scope, round_to=round_to), "s")
    first, second = channels(pruned)
    assert done.macs == macs(first, second, 10) <= share * macs(12, 16, 10)
    assert first % round_to == 0 == second % round_to
    assert pruned(example()).shape == (4, 10)


def test_layers_of_as_many_channels_as_outputs_are_pruned_but_the_last():
    pruned = network(hidden=10)
    prune(pruned, example(), Prune(macs=0.5, scope="layer", round_to=1), "s")
    assert channels(pruned)[0] < 10
    assert pruned[-1].out_features == 10


def test_a_history_gives_another_network_the_same_shape():
    pruned, again = network(), network()
    done = prune(pruned, example(), Prune(macs=0.3, round_to=1), "s")
    rebuild(again, torch.zeros(2, 1, SIDE, SIDE), done.history)
    again.load_state_dict(pruned.state_dict())
    assert torch.equal(again(example()), pruned(example()))


def test_a_share_that_cannot_be_reached_names_one_that_can():
    with pytest.raises(InputError, match=r"prune\.macs is 0\.01") as error:
        prune(network(), example(), Prune(macs=0.01, round_to=4), "s")
    share = float(error.value.hint.split("=")[1].split()[0])
    prune(network(), example(), Prune(macs=share, round_to=4), "s")


class PaddedShortcut(nn.Module):
    """A shortcut that fills its missing channels with zeros: option A of He et al. 2016."""

    def __init__(self):
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 16, 3, padding=1), nn.Linear(16, 10)

    def forward(self, images):
        features = self.stem(images)
        features = self.body(features) + functional.pad(features, (0, 0, 0, 0, 4, 4))
        return self.head(features.mean((2, 3)))


class FixedShape(nn.Module):
    """A forward pass with a fixed number of channels."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 16, 3, padding=1), nn.Linear(16, 10)

    def forward(self, images):
        return self.head(self.body(images).reshape(-1, 16, SIDE * SIDE).mean(2))


@pytest.mark.parametrize("kind", [PaddedShortcut, FixedShape])
def test_networks_that_cannot_lose_channels_are_refused(kind):
    with pytest.raises(InputError, match="cannot be pruned"):
        prune(kind().eval(), example(), Prune(macs=0.5, round_to=1), "s")


def test_without_the_library_the_hint_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(InputError) as error:
        prune(network(), example(), Prune(macs=0.5), "s")
    assert error.value.hint == install("prune")


@pytest.mark.parametrize(
    ("round_to", "hidden", "hint"),
    [
        (8, 12, r"^set prune\.macs = 0\.\d+ or more, or prune\.round_to = 1$"),
        (16, 16, "^set prune.round_to = 1$"),
        (1, 1, "^set prune.macs = 0"),
    ],
)
def test_a_goal_out_of_reach_names_what_can_be_reached(round_to, hidden, hint):
    with pytest.raises(InputError, match="as far as possible") as refused:
        prune(network(hidden), example(), Prune(macs=0.001, round_to=round_to), "s")
    assert re.search(hint, refused.value.hint)


def test_a_network_without_removable_channels_is_told_so():
    one = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, 1), nn.ReLU(), nn.Linear(1, 10))
    with pytest.raises(InputError, match=r"1\.00 of the MACs remain") as refused:
        prune(one, example(), Prune(macs=0.5, round_to=1), "s")
    assert refused.value.hint == "prune a network with wider layers"
