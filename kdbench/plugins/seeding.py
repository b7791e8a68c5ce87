"""Random numbers of user code that draws from the global generators of Python and numpy."""

import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def seeded(key: int) -> Iterator[None]:
    """Let `random` and `numpy.random` depend on `key` alone while the block runs; they go on as before afterwards.

    torch's generator is not touched: who calls this seeds it.
    """
    import numpy as np

    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - its users cannot be helped
    try:
        random.seed(key)
        np.random.seed(key % 2**32)  # noqa: NPY002
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
