"""Files that are named in the place of a run's record: what they are, and the command that reads them."""

import shlex
from pathlib import Path

from kdbench.errors import InputError
from kdbench.modelfile.formats.kinds import foreign
from kdbench.modelfile.formats.ort_format import is_ort
from kdbench.results.run_folder import RECORD

_NOT_REFUSED = {".onnx", ".md", ".html"}  # `RunFolder.of` knows them by name
_HEAD_BYTES = 4096


def require_no_other_kind(path: Path) -> Path:
    """Return the path of a run, or raise InputError, with what it is, for a file that holds no JSON.

    Reading a record explains the rest: a path without a file, a record that is damaged.

    >>> require_no_other_kind(Path("digits.npz"))
    Traceback (most recent call last):
    kdbench.errors.InputError: digits.npz is an archive of NumPy arrays (.npz), not a record
    """
    if path.suffix in _NOT_REFUSED or not path.is_file():
        return path
    try:
        with path.open("rb") as stream:
            start = stream.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        if start in b"{[":  # an empty file as well
            return path
        if is_ort(path):
            what, hint = "a model for ONNX Runtime", f"measure it: kdbench bench {shlex.quote(str(path))}"
        else:
            what, hint = foreign(path) or ("in a format that kdbench does not know", "name a run's folder")
    except OSError:
        return path
    if path.name != RECORD and (path.parent / RECORD).is_file():
        hint = f"name the run that it belongs to: {shlex.quote(str(path.parent))}"
    raise InputError(f"{path} is {what}, not a record", hint)
