"""The special functions against scipy's, over the arguments that estimates have and beyond."""

import numpy as np
import pytest
from scipy import special as scipys

from kdbench.statistics import special


@pytest.mark.parametrize("a", [0.5, 1.0, 2.5, 8.0, 40.0, 700.5, 20_000.0])
@pytest.mark.parametrize("b", [0.5, 1.0, 3.0, 15.5, 300.0, 20_000.0])
def test_incomplete_beta_is_scipys(a, b):
    mean, deviation = a / (a + b), (a * b / (a + b) ** 2 / (a + b + 1)) ** 0.5
    x = np.unique(np.clip([0, 1, *(mean + z * deviation for z in np.linspace(-6, 6, 25))], 0, 1))
    np.testing.assert_allclose(special.betainc(a, b, x), scipys.betainc(a, b, x), rtol=1e-9, atol=1e-15)
    for share in (0.025, 0.5, 0.975):
        assert special.beta_quantile(a, b, share) == pytest.approx(scipys.betaincinv(a, b, share), rel=1e-9)


def test_ends_of_the_beta_quantile():
    assert special.beta_quantile(3, 2, 0.0) == 0
    assert special.beta_quantile(3, 2, 1.0) == 1
    assert special.beta_quantile(1, 1_000_000, 0.025) == pytest.approx(scipys.betaincinv(1, 1e6, 0.025), rel=1e-9)


@pytest.mark.parametrize("degrees", [1, 2, 4, 4.5, 7, 31, 1000, 100_000])
def test_quantiles_of_students_t_and_the_normal_distribution_are_scipys(degrees):
    for share in (0.9, 0.975, 0.9995):
        assert special.t_quantile(degrees, share) == pytest.approx(scipys.stdtrit(degrees, share), rel=1e-9)
        assert special.normal_quantile(share) == pytest.approx(scipys.ndtri(share), rel=1e-13)


@pytest.mark.parametrize(
    ("k", "n", "p"), [(-1, 5, 0.5), (0, 1, 0.5), (3, 6, 0.5), (6, 6, 0.5), (1, 662, 0.01), (4900, 10_000, 0.5)]
)
def test_binomial_cdf_is_scipys(k, n, p):
    expected = 0.0 if k < 0 else scipys.bdtr(k, n, p)
    assert special.binomial_cdf(k, n, p) == pytest.approx(expected, rel=1e-9)
