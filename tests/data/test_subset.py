import numpy as np
import pytest

from kdbench.data.dataset import Split
from kdbench.data.subset import at_random, first_per_class, half
from kdbench.errors import InputError

LABELS = np.array([2, 0, 1, 0, 2, 1, 0, 0, 2, 1, 1, 2], dtype=np.int64)
SPLIT = Split(np.zeros((12, 1, 2, 2), dtype=np.uint8), LABELS)


def test_the_first_of_each_class():
    assert first_per_class(SPLIT, 2).tolist() == [0, 1, 2, 3, 4, 5]
    chosen = first_per_class(SPLIT, 3)
    assert np.bincount(LABELS[chosen]).tolist() == [3, 3, 3]
    assert chosen.tolist() == sorted(chosen)


def test_more_than_a_class_has_is_refused():
    with pytest.raises(InputError, match="fewer than first_per_class = 5"):
        first_per_class(SPLIT, 5)


def test_a_random_part_holds_a_smaller_one_and_no_sample_twice():
    few, many = (set(at_random(SPLIT, count, seed=1).tolist()) for count in (4, 9))
    assert (len(few), len(many)) == (4, 9)
    assert few < many
    assert set(at_random(SPLIT, 4, seed=2).tolist()) != few
    with pytest.raises(InputError, match="13"):
        at_random(SPLIT, 13, seed=0)


def test_two_halves_are_everything_in_equal_shares():
    first, second = (half(SPLIT, which, seed=5) for which in ("D0", "D1"))
    assert sorted([*first, *second]) == list(range(12))
    assert np.bincount(LABELS[first]).tolist() == np.bincount(LABELS[second]).tolist() == [2, 2, 2]


def test_a_part_keeps_the_numbers_of_its_samples():
    part = SPLIT.subset([4, 9, 11])
    assert part.samples.tolist() == [4, 9, 11]
    assert part.subset([2]).samples.tolist() == [11]
