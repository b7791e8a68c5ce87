"""The largest coverage that any interval can have when sessions are few and correlated: a bound for kdbench's own.

Sessions give S numbers with an unknown lag-1 correlation rho. An interval around their mean that is wide
enough for rho = 0.8 is far too wide for rho = 0, and five numbers hardly tell one from the other. Of all intervals
mean ± g(shape) s, whose width depends on the numbers' shape (u = deviations / s, s their standard deviation) in any
way, the best for rho under a limit on the average width at rho = 0 follows from the lemma of Neyman and Pearson.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

_WIDTHS = 160
_WIDEST = 32.0  # half-widths up to this many s / sqrt(S) are tried


@dataclass(frozen=True)
class Shapes:
    """Shapes under one rho: the log density of each, and the Student's t that (mean - truth) / s follows."""

    log_density: NDArray[np.float64]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]


def normal_series(rng: np.random.Generator, draws: int, sessions: int, rho: float) -> NDArray[np.float64]:
    """Return AR(1) series with mean 0 and variance 1, (draws, sessions)."""
    lags = np.abs(np.subtract.outer(np.arange(sessions), np.arange(sessions)))
    return rng.standard_normal((draws, sessions)) @ np.linalg.cholesky(rho**lags).T


def best_coverage(sessions: int, rho: float, widening: float, *, draws: int = 8_000, seed: int = 0) -> float:
    """Return the largest coverage at `rho` of any interval that is `widening` x Student's t wide, on average, at 0.

    Shapes are drawn from both correlations in equal parts and weighted. For each the half-width is chosen that
    maximises coverage at rho less a price times its width at 0; the price is searched that meets the limit.
    """
    rng = np.random.default_rng(seed)
    series = np.concatenate([normal_series(rng, draws // 2, sessions, r) for r in (0.0, rho)])
    deviations = series - series.mean(axis=1, keepdims=True)
    u = deviations / deviations.std(axis=1, ddof=1, keepdims=True)
    at_0, at_rho = _shapes(u, 0.0), _shapes(u, rho)
    mixture = np.logaddexp(at_0.log_density, at_rho.log_density) - np.log(2)
    p_0, p_rho = (np.exp(shapes.log_density - mixture) / len(u) for shapes in (at_0, at_rho))
    widths = np.linspace(0, _WIDEST, _WIDTHS) / np.sqrt(sessions)
    upper, lower = (stdtr(sessions - 1, (s * widths - at_rho.centre[:, None]) / at_rho.scale[:, None]) for s in (1, -1))
    held = p_rho[:, None] * (upper - lower)
    limit = widening * stdtrit(sessions - 1, 0.975) / np.sqrt(sessions)
    cheap, dear = 1e-4, 10.0
    for _ in range(25):
        price = np.sqrt(cheap * dear)
        chosen = np.argmax(held - price * p_0[:, None] * widths, axis=1)
        cheap, dear = (price, dear) if p_0 @ widths[chosen] > limit else (cheap, price)
    return float(held[np.arange(len(u)), chosen].sum())


def _shapes(u: NDArray[np.float64], rho: float) -> Shapes:
    """Return the density under `rho` of the shapes `u` (draws, sessions), location and scale integrated out.

    With precision matrix P of the correlations: the density is |P|^(1/2) (1'P1)^(-1/2) Q^(-(S - 1)/2), Q = d'Pd of
    what is left off the generalised least-squares mean.
    """
    s = u.shape[1]
    precision = np.linalg.inv(rho ** np.abs(np.subtract.outer(np.arange(s), np.arange(s))))
    weight = precision.sum()
    mean = u @ precision.sum(axis=1) / weight
    left = u - mean[:, None]
    square = np.einsum("ri,ij,rj->r", left, precision, left)
    log_density = 0.5 * np.linalg.slogdet(precision)[1] - 0.5 * np.log(weight / s) - (s - 1) / 2 * np.log(square)
    log_density += (s - 1) / 2 * np.log(s - 1)
    return Shapes(log_density, -mean, np.sqrt(square / (s - 1) / weight))
