"""How a walk counts, on steps made up."""

import pytest
from tools.walk import Walk


def walk(*steps: str) -> Walk:
    """Return a walk with steps as `a>b`."""
    walked = Walk(None)
    walked.steps = [(caller, module) for caller, module in (step.split(">") for step in steps)]
    return walked


@pytest.mark.parametrize(
    ("steps", "returns", "climbs"),
    [
        (["a>b", "b>c"], 0, 0),
        (["a>b", "a>c"], 0, 0),
        (["a>b", "a>c", "c>b"], 1, 0),  # a shared helper
        (["a>b", "b>a"], 1, 1),
        (["a>b", "b>c", "c>a"], 1, 1),
        (["a>b", "b>c", "a>d", "d>c"], 1, 0),
        (["b>c", "a>b", "c>a"], 2, 1),
    ],
)
def test_returns_and_climbs(steps, returns, climbs):
    walked = walk(*steps)
    assert (len(walked.returns), len(walked.climbs)) == (returns, climbs)
