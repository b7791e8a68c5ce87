"""Messages between processes: JSON objects, one per line of a child's standard input or output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import IO, Any


def write(message: Mapping[str, Any], stream: IO[str] | None = None) -> None:
    """Write a message to a stream, by default to standard output, at once."""
    stream = stream or sys.stdout
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def read(line: bytes) -> dict[str, Any] | None:
    """Return the message on a line of a child's output; None if a library printed the line.

    >>> read(b'{"note": "resumed"}'), read(b"Downloading 3 files")
    ({'note': 'resumed'}, None)
    """
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
