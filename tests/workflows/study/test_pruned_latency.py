"""The search for the largest pruned network that is fast enough, and what is written of it."""

import pytest
import torch

from kdbench.distill.pruning import Pruned, rebuild, stages
from kdbench.errors import InputError
from kdbench.measure.latency.pair import PairTimes
from kdbench.models import build
from kdbench.progress import Silent
from kdbench.recipe import Measure, Prune
from kdbench.results.run_folder import RunFolder
from kdbench.workflows.study import pruned
from kdbench.workflows.study.pruned_latency import PruningResult, largest_within

EXAMPLE = torch.zeros(2, 1, 8, 8)


class Timings:
    """Times of networks by their MACs: a fixed part and one that grows with them."""

    def __init__(self, fixed=0.1):
        self.fixed, self.timed = fixed, []

    def __call__(self, pruned):
        self.timed.append(pruned.macs)
        share = self.fixed + (1 - self.fixed) * pruned.macs / pruned.macs_before
        return PairTimes(share, 0.9 * share, 1.1 * share, 4e6 * share)


PASSED = [Pruned((), 1000, macs) for macs in range(1000, 90, -10)]


@pytest.mark.parametrize("goal", [0.2, 0.33, 0.75, 0.99, "3 ms", "1.2 ms"])
def test_the_largest_network_that_is_fast_enough_is_found_in_few_timings(goal):
    timings = Timings()
    largest = largest_within(PASSED, timings, Prune(latency=goal), "s")
    most = goal if isinstance(goal, float) else float(goal.split()[0]) / 4
    shares = [0.1 + 0.9 * one.macs / 1000 for one in PASSED]
    expected = next(one for one, share in zip(PASSED, shares, strict=True) if share <= most)
    assert largest.pruned == expected
    assert largest.times == Timings()(expected)
    assert largest.tried == len(timings.timed) <= 8


@pytest.mark.parametrize("goal", [0.15, "0.5 ms"])
def test_a_goal_out_of_reach_names_one_within(goal):
    with pytest.raises(InputError, match=r"prune\.latency is 0\.") as refused:
        largest_within(PASSED, Timings(), Prune(latency=goal), "s")
    text = refused.value.hint.split(" = ")[1].split(" or more")[0]
    assert largest_within(PASSED, Timings(), Prune(latency=text.strip('"') if '"' in text else float(text)), "s")


def test_a_network_that_cannot_lose_anything_is_refused():
    with pytest.raises(InputError, match="no layer"):
        largest_within(PASSED[:1], Timings(), Prune(latency=0.5), "s")


def network(seed=0):
    torch.manual_seed(seed)
    return build("convnet", (1, 8, 8), 10, widths=[8, 16]).eval()


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_pruning_passes_through_smaller_and_smaller_networks_that_can_be_made_again(scope):
    options = Prune(latency=0.5, scope=scope, round_to=2)
    passed = stages(network(), EXAMPLE, options, "s")
    macs = [one.macs for one in passed]
    assert macs[0] == passed[0].macs_before
    assert macs == sorted(set(macs), reverse=True)
    for one in passed[1::3]:
        again = network()
        rebuild(again, EXAMPLE, one.history)
        assert again(EXAMPLE).shape == (2, 10)
        assert sum(p.numel() for p in again.parameters()) < sum(p.numel() for p in network().parameters())


@pytest.fixture
def searched(monkeypatch):
    """Replace timings by a fixed result, and count the searches."""
    calls = []

    def search(of, example, options, name, config, run_data, progress):
        calls.append(name)
        passed = stages(of, example, options, name)
        return PruningResult(passed[3], PairTimes(0.45, 0.4, 0.5, 1e6), 6)

    monkeypatch.setattr(pruned, "search", search)
    return calls


def prune_once(folder, options, first=None, seed=0):
    weights, file = folder / "weights", folder / f"pruned-{seed}" / "pruning.json"
    weights.write_bytes(b"weights %d" % seed)
    small = network(seed)
    pruned.prune_once(
        small, EXAMPLE, options, "s", weights, file, pruned.Timing(Measure(threads=2), None, Silent(), first)
    )
    return small, file


def test_what_was_found_is_written_once_and_used_again(tmp_path, searched):
    options = Prune(latency=0.5, round_to=2)
    small, file = prune_once(tmp_path, options)
    written = file.read_bytes()
    again, _ = prune_once(tmp_path, options)
    assert searched == ["s"]
    assert file.read_bytes() == written
    for one, other in zip(small.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    known = pruned.RemovedChannels.read(file)
    assert (known.latency.goal, known.latency.share, known.latency.threads, known.latency.tried) == (0.5, 0.45, 2, 6)
    prune_once(tmp_path, Prune(latency=0.4, round_to=2))
    assert searched == ["s", "s"]


def test_other_seeds_are_as_large_as_the_first(tmp_path, searched):
    options = Prune(latency=0.5, round_to=2, scope="layer")
    small, file = prune_once(tmp_path, options)
    other, second = prune_once(tmp_path, options, file, seed=1)
    assert searched == ["s"]
    assert [p.shape for p in other.parameters()] == [p.shape for p in small.parameters()]
    assert pruned.RemovedChannels.read(second).latency is None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "neither macs nor latency"),
        ({"macs": 0.5, "latency": 0.5}, "both macs and latency"),
        ({"latency": 0}, "not a share above 0"),
        ({"latency": 1}, "not a share above 0"),
        ({"latency": True}, "not a share above 0"),
        ({"latency": "fast"}, "not a quantity"),
        ({"latency": "50 %"}, "does not fit"),
        ({"latency": "0 ms"}, "not a time above zero"),
        ({"latency": "5"}, "without a unit"),
        ({"latency": [0.5]}, "not a share above 0"),
    ],
)
def test_goals_that_are_none_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        Prune(**keys)


def test_a_recipe_that_asks_for_macs_is_known_by_what_it_was():
    assert Prune(macs=0.5).model_dump(mode="json") == {"of": None, "macs": 0.5, "scope": "global", "round_to": 8}
    assert Prune(latency="2 ms").latency_ns == 2e6
    assert Prune(latency=0.5).latency_share == 0.5


def test_the_first_seeds_file_is_the_one_that_is_read(tmp_path):
    from types import SimpleNamespace

    recipe = SimpleNamespace(seeds=(3, 4), measure=Measure())
    job = SimpleNamespace(entry=SimpleNamespace(name="s"), of_seed=4)
    folder = RunFolder(tmp_path)
    assert pruned.timing_of(job, recipe, None, folder, Silent()).first == folder.checkpoint("s-seed3") / "pruning.json"
    job.of_seed = 3
    assert pruned.timing_of(job, recipe, None, folder, Silent()).first is None
