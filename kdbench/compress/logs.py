"""What a library logs about its own command line, kept from the user."""

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Log nothing below an error meanwhile."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
