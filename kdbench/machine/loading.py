"""Whether the content of a file fits into the memory, before it is read."""

from collections.abc import Container
from pathlib import Path

from kdbench.files import archives
from kdbench.machine.memory import require_memory


def require_loadable(path: Path, hint: str, *, members: Container[str] | None = None, copies: int = 1) -> None:
    """Raise InputError, with `hint`, for a file whose content would take more than half of the available memory.

    The content of a zip archive is what its `members` (None: all) declare; an archive that declares far more than its
    size allows is refused too. `copies` of the content are in memory at once. A damaged archive is not reported here,
    but by its reader. Raises OSError for a file that cannot be read.
    """
    try:
        size = archives.require_unpackable(path, members)
    except OSError:
        raise
    except archives.archive_errors():  # damaged, or no archive
        size = path.stat().st_size
    require_memory(copies * size, f"the content of {path}", hint)
