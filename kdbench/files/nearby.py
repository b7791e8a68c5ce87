"""Hints for paths that do not exist: what was expected there, and the existing path that was most likely meant."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from kdbench.registry import nearest

_MAX_ENTRIES = 1000  # of a folder that are compared


def expected_at(path: Path, expected: str, fits: Callable[[Path], bool]) -> str:
    """Return the hint for a path that does not exist: `expected`, and the existing path that is most similar.

    `fits` returns whether a path could be meant.

        >>> expected_at(Path("runs/digts"), "name a run's folder", Path.is_dir)
        "name a run's folder; did you mean 'runs/digits'?"
    """
    meant = nearest_path(path, fits)
    return expected if meant is None else f"{expected}; did you mean {str(meant)!r}?"


def nearest_path(path: Path, fits: Callable[[Path], bool]) -> Path | None:
    """Return the existing path that `path` most likely means: each part has a similar name, and `fits` is True for it.

    Differences in upper and lower case, and a missing or different suffix, are ignored. None if there is no such path.
    """
    try:
        return _nearest(path, fits)
    except (OSError, ValueError):  # a folder that cannot be read, a name that is too long or has a NUL
        return None


def _nearest(path: Path, fits: Callable[[Path], bool]) -> Path | None:
    if not path.name:
        return None
    above = path.parent
    folder = above if above.is_dir() else _nearest(above, Path.is_dir)
    if folder is None:
        return None
    names = [entry.name for entry in islice(folder.iterdir(), _MAX_ENTRIES) if fits(entry)]
    return None if (name := _nearest_name(path.name, names)) is None else folder / name


def _nearest_name(name: str, names: list[str]) -> str | None:
    """Return the one of `names` that `name` most likely means: one that differs by case or suffix, else a similar one.

    Suffixes are not compared: for short names they would dominate the similarity.
    """
    folded = {one.casefold(): one for one in names}
    stems = {Path(one).stem: one for one in folded}
    wanted = name.casefold()
    same = next((one for one in (wanted, stems.get(wanted), stems.get(Path(wanted).stem)) if one in folded), None)
    similar = None if same is not None else nearest(Path(wanted).stem, sorted(stems))
    meant = same if similar is None else stems[similar]
    return None if meant is None else folded[meant]
