"""Reports: a record, with its verdicts and samples, as tables, figures and text in several formats.

Reads results only: neither torch, onnxruntime nor the models are needed.

A report format is one file in `kdbench/report/render/` that registers a `Writer` in `FORMATS`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from kdbench import storage
from kdbench.registry import Registry
from kdbench.report.content import Content
from kdbench.results.records import RunRecord

__all__ = ["FORMATS", "Content", "Writer", "write"]

Writer = Callable[[Content, Path], list[Path]]
"""Writes one rendering of a record into an existing folder and returns the paths of the files, the main one first."""

FORMATS: Registry[Writer] = Registry("report format", package="kdbench.report.render", group="kdbench.report_formats")


def write(content: Content | RunRecord, folder: Path, formats: Sequence[str] = ("md",)) -> list[Path]:
    """Render a record, with verdicts and samples, into `folder` in each of `formats`; return the paths of the files.

    Raises InputError for an unknown format, before anything is written, and StorageError.
    """
    writers = [FORMATS.get(name) for name in formats]
    if isinstance(content, RunRecord):
        content = Content(content)
    storage.make_folder(folder)
    return [path for writer in writers for path in writer(content, folder)]
