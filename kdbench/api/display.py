"""Tables and figures that print as text and display in a notebook."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.errors import InputError
from kdbench.files import storage
from kdbench.report.figures import Drawing
from kdbench.report.table import Table
from kdbench.user_input.arguments import checked


@dataclass(frozen=True, repr=False)
class ShownTable:
    """A table of the report. As text it is Markdown; a notebook displays it as HTML.

    >>> print(str(kdbench.Results.read("runs/digits").table()).splitlines()[0][:20])
    | Model | Top-1 | To
    """

    table: Table

    def __str__(self) -> str:
        from kdbench.report.text.markdown import table

        return table(self.table)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return page([self.table], [])


@dataclass(frozen=True, repr=False)
class ShownFigure:
    """A figure of the report; a notebook displays it. `svg` is its text, `caption` says how to read it.

    >>> figure = kdbench.Results.read("runs/digits").plot("accuracy_size")
    >>> figure.svg.rstrip().endswith("</svg>"), len(figure.caption) > 0
    (True, True)
    """

    drawing: Drawing

    @property
    def svg(self) -> str:
        """The figure as an SVG document."""
        return self.drawing.svg

    @property
    def caption(self) -> str:
        """How to read it."""
        return self.drawing.caption

    @checked
    def save(self, path: str | Path) -> Path:
        """Write the SVG file and return its path; raises StorageError, and InputError for a name of another format.

        >>> kdbench.Results.read("runs/digits").plot("accuracy_size").save("runs/figure.svg").name
        'figure.svg'
        """
        path = Path(path)
        if path.suffix.lower() not in {"", ".svg"}:
            raise InputError(
                f"a figure is an SVG document, not a {path.suffix} file", f"save {path.with_suffix('.svg')}"
            )
        with storage.advising(""):
            storage.write_text(path, self.svg)
        return path

    def __repr__(self) -> str:
        return f"<kdbench figure {self.drawing.name!r}: {self.drawing.title}>"

    def _repr_svg_(self) -> str:
        return self.svg


def page(tables: Sequence[Table], lines: Sequence[str], above: Sequence[str] = ()) -> str:
    """Return tables, with lines of text below and above them, as HTML for a notebook's cell."""
    from kdbench.report.render.html import excerpt

    return excerpt(tables, lines, above)
