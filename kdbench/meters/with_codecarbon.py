"""What every use of codecarbon needs: its silence, and joules for its kilowatt-hours."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

J_PER_KWH = 3.6e6


class Log(logging.Filter):
    """Lets nothing of codecarbon's log through, and keeps the last error that codecarbon swallowed."""

    swallowed: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False: the record goes nowhere."""
        if record.exc_info and record.exc_info[1] is not None:
            self.swallowed = record.exc_info[1]
        return False

    def reason(self, otherwise: str) -> str:
        """Return the swallowed error in a few words, `otherwise` where there is none."""
        if self.swallowed is None:
            return f"codecarbon: {otherwise}"
        return f"codecarbon: {type(self.swallowed).__name__}: {self.swallowed}".partition("\n")[0]


@contextmanager
def hushed(log: Log | None = None) -> Iterator[None]:
    """Keep codecarbon from writing to the terminal: its import already does, before a level can be set."""
    log = log or Log()
    logger = logging.getLogger("codecarbon")
    logger.addFilter(log)
    try:
        yield
    finally:
        logger.removeFilter(log)
