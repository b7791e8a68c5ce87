import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr

from kdbench.evaluate.divergence import spearman

TIED = arrays(np.float64, (6, 7), elements=st.integers(-3, 3).map(float))


@given(TIED, TIED)
@pytest.mark.filterwarnings("ignore:An input array is constant")
def test_rho_against_scipy(one, other):
    expected = [spearmanr(a, b).statistic for a, b in zip(one, other, strict=True)]
    np.testing.assert_allclose(spearman(one, other), expected, atol=1e-12)


def test_the_order_counts_and_nothing_else():
    z = np.random.default_rng(0).normal(size=(5, 100))
    np.testing.assert_allclose(spearman(z, np.exp(0.1 * z) - 7), 1)
    np.testing.assert_allclose(spearman(z, -z), -1)


def test_equal_logits_have_no_order():
    assert np.isnan(spearman(np.zeros((1, 4)), np.arange(4.0)[None])).all()
