"""How a walk counts returns, on steps made up."""

import pytest
from tools.walk import Walk


def walk(*steps: str) -> Walk:
    """Return a walk with steps as `a>b`."""
    walked = Walk(None)
    walked.steps = [(caller, module) for caller, module in (step.split(">") for step in steps)]
    return walked


@pytest.mark.parametrize(
    ("steps", "returns"),
    [
        (["a>b", "b>c"], 0),
        (["a>b", "a>c"], 0),
        (["a>b", "a>c", "c>b"], 1),
        (["a>b", "b>a"], 1),
        (["a>b", "b>c", "a>d", "d>c"], 1),
        (["b>c", "a>b", "c>a"], 2),
    ],
)
def test_returns_enter_modules_that_were_left(steps, returns):
    assert len(walk(*steps).returns) == returns


def test_a_room_is_returned_to_once_from_another():
    walked = walk(
        "kdbench.a.x>kdbench.b.y", "kdbench.b.y>kdbench.c.z", "kdbench.c.z>kdbench.b.y", "kdbench.c.z>kdbench.b.x"
    )
    assert walked.room_returns == [("kdbench.c.z", "kdbench.b.y")]
    assert len(walked.returns) == 1  # b.x is new
