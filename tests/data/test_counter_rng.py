import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from kdbench.data.selection import below, key_of, words


def test_splitmix64_gives_its_published_numbers():
    # Vigna's splitmix64.c from state 1234567, as https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64 lists.
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert words(1234567, np.arange(5)).tolist() == expected


def test_a_samples_word_does_not_depend_on_who_else_is_asked():
    everybody = words(9, np.arange(100))
    assert words(9, np.array([42, 7])).tolist() == everybody[[42, 7]].tolist()


@given(st.integers(-(2**63), 2**63), st.integers(0, 10_000))
def test_neighbouring_seeds_and_epochs_have_keys_of_their_own(seed, epoch):
    keys = {key_of(seed, epoch), key_of(seed, epoch + 1), key_of(seed + 1, epoch)}
    assert len(keys) == 3
    assert all(0 <= key < 2**64 for key in keys)


@pytest.mark.parametrize("limit", [2, 10, 162])
def test_numbers_below_a_limit_are_uniform(limit):
    drawn = below(limit, words(key_of(3, 1), np.arange(200 * limit)))
    assert drawn.min() == 0
    assert drawn.max() == limit - 1
    assert stats.chisquare(np.bincount(drawn, minlength=limit)).pvalue > 1e-3


def test_two_epochs_draws_are_independent():
    first, second = (below(4, words(key_of(0, epoch), np.arange(20_000))) for epoch in (0, 1))
    table = np.bincount(4 * first + second, minlength=16).reshape(4, 4)
    assert stats.chi2_contingency(table).pvalue > 1e-3
