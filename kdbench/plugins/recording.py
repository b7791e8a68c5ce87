"""Recording the user code that a block runs: the names that it looks up, and the files that the code reads."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kdbench.plugins.modules import add_imports
from kdbench.plugins.opened_files import opening
from kdbench.plugins.search import source_file
from kdbench.registry import LOOKUPS, Lookup


@dataclass
class Recording:
    """The names of user code that a block looked up, and the files that it read."""

    uses: tuple[Lookup, ...] = ()
    opened: frozenset[Path] = frozenset()

    def __or__(self, other: "Recording") -> "Recording":
        """Return both recordings as one."""
        uses = {(use.kind, use.name): use for use in (*other.uses, *self.uses)}
        return Recording(tuple(uses.values()), self.opened | other.opened)


# Code may keep a file's content in memory, and so read it only once in a process.
_READ_BEFORE: dict[tuple[tuple[str, str], ...], frozenset[Path]] = {}


@contextmanager
def recording() -> Iterator[Recording]:
    """Yield a recording that is complete after the block. An outer block also records what an inner one does."""
    recorded, uses, outer = Recording(), list[Lookup](), LOOKUPS.get()
    token = LOOKUPS.set(uses)
    try:
        with opening() as opened:
            yield recorded
    finally:
        LOOKUPS.reset(token)
        if outer is not None:
            outer += uses
    recorded.uses = tuple({(use.kind, use.name): use for use in uses}.values())
    recorded.opened = frozenset(opened)
    if recorded.uses:  # without user code, nothing keeps the files that it read
        add_imports([use.module for use in recorded.uses if use.module], opened)
        key = tuple(sorted({(use.name, str(source_file(sys.modules.get(use.module or "")))) for use in recorded.uses}))
        recorded.opened = _READ_BEFORE[key] = recorded.opened | _READ_BEFORE.get(key, frozenset())
