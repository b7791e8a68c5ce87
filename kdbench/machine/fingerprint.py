"""Facts about the machine and the software that a number was measured with, in the form of a record's environment.

A fingerprint contains no user name, host name or path, because records are published.
"""

from pathlib import Path

from kdbench.machine.host import host_facts, libraries, output_of
from kdbench.machine.system_files import ROOT
from kdbench.results.records import Environment


def fingerprint(root: Path = ROOT) -> Environment:
    """Return the facts about this machine and its software; unknown facts are None."""
    commit, dirty = _working_copy(Path(__file__).resolve().parents[2])
    return Environment(host=host_facts(root), libraries=libraries(), git_commit=commit, git_dirty=dirty)


def _working_copy(folder: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the working copy that kdbench runs from and whether it is modified; None if installed."""
    if not (folder / ".git").exists():
        return None, None
    commit = output_of(["git", "-C", str(folder), "rev-parse", "HEAD"])
    changes = output_of(["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"])
    return commit or None, None if changes is None else bool(changes)
