"""How long a training step takes, from the times at which a training loop requests its batches."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Clock = Callable[[], float]


def timed(batches: Iterable[Item], marks: list[float], clock: Clock = time.perf_counter) -> Iterator[Item]:
    """Yield `batches`, noting in `marks` the second in which each was asked for, and the end if it was asked for.

    A step begins when its batch is asked for and ends when the next one is: what it takes to load it is part of it.
    """
    marks.append(clock())
    for batch in batches:
        yield batch
        marks.append(clock())


def seconds_per_step(marks: Sequence[float], warmup: int, steps: int) -> float:
    """Return the mean length of the `steps` steps after the first `warmup`, in seconds."""
    assert len(marks) > warmup + steps, f"{len(marks)} marks for {warmup} + {steps} steps"
    return (marks[warmup + steps] - marks[warmup]) / steps


def seconds_once(marks: Sequence[float], warmup: int, steps: int) -> float:
    """Return what the first `warmup` steps took beyond as many of the others, such as compiling; in seconds."""
    return marks[warmup] - marks[0] - warmup * seconds_per_step(marks, warmup, steps)
