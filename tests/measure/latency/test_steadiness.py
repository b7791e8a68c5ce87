"""Times of known steadiness."""

import numpy as np
import pytest

from kdbench.measure.latency.steadiness import two_states, unevenness
from kdbench.statistics import Clustered


def calls(block_medians):
    """Return samples of 5 calls a block, the last of each an outlier, from medians (sessions, blocks)."""
    medians = np.asarray(block_medians, float)
    session, block, call = np.indices((*medians.shape, 5))
    values = medians[:, :, None] * np.array([0.98, 1.0, 1.0, 1.02, 40.0])
    assert values.shape == call.shape
    return Clustered(values.ravel(), session.ravel(), block.ravel())


def blocks(deviation, shape=(5, 40)):
    """Return block medians of exactly this relative standard deviation."""
    drawn = np.random.default_rng(0).uniform(-1, 1, shape)
    return 1e6 * (1 + deviation * (drawn - drawn.mean()) / drawn.std(ddof=1))


@pytest.mark.parametrize(
    ("deviation", "output"), [(0.099, None), (0.101, "the standard deviation of the blocks is 10 % of their mean")]
)
def test_blocks_that_deviate(deviation, output):
    assert unevenness(calls(blocks(deviation))) == output


def test_single_calls_that_are_interrupted_are_what_percentiles_are_for():
    steady = calls(blocks(0.01))
    assert np.std(steady.values) > np.mean(steady.values)
    assert unevenness(steady) is None


@pytest.mark.parametrize(("slow", "output"), [(1.4, None), (1.6, "the longest blocks are 58 % off the mean")])
def test_extreme_blocks(slow, output):
    medians = np.full((5, 12), 1e6)
    medians[2, 3] = slow * 1e6
    assert unevenness(calls(medians)) == output


def test_in_a_longer_look_extremes_are_as_rare_as_pyperfs():
    medians = np.full((5, 24), 1e6)  # 120 blocks: the second longest counts
    medians[2, 3] = 1.6e6
    assert unevenness(calls(medians)) is None
    medians[4, 0] = 1.6e6
    assert unevenness(calls(medians)) == "the longest blocks are 58 % off the mean"


def test_one_block_alone_is_even():
    assert unevenness(calls([[1e6]])) is None


def sessions(*medians):
    return calls(np.repeat(np.array(medians)[:, None], 3, axis=1))


@pytest.mark.parametrize(
    ("medians", "output"),
    [
        ((500e3, 560e3, 501e3, 502e3, 562e3), "sessions are of two kinds: 501 µs in 3 and 561 µs in 2"),
        ((500e3, 560e3, 501e3, 502e3, 503e3), None),  # one odd session is no kind
        ((500e3, 560e3, 501e3, 562e3), None),  # too few to tell
        ((500e3, 515e3, 501e3, 502e3, 516e3), None),  # 3 % apart
        ((500e3, 510e3, 520e3, 530e3, 600e3, 610e3), None),  # not far apart for their width
    ],
)
def test_sessions_of_two_kinds(medians, output):
    result = two_states(sessions(*medians))
    assert (result and result.replace("\u202f", " ").replace("\xa0", " ")) == output


def test_sessions_of_one_kind_seldom_look_like_two():
    rng = np.random.default_rng(0)
    drawn = 1e6 * (1 + 0.05 * rng.standard_normal((2000, 5)))
    session, block = np.arange(5), np.zeros(5, int)
    seen = sum(two_states(Clustered(medians, session, block)) is not None for medians in drawn)
    assert seen <= 30  # 20 expected of 2000, see the module
