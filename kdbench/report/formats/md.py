"""`report.md` with its figures: the report a person reads, as Markdown for GitHub; `report-STYLE.md` in a style."""

from pathlib import Path

from kdbench import storage
from kdbench.report import FORMATS, Content, markdown
from kdbench.report.cells import sentence
from kdbench.report.parts import parts
from kdbench.report.verdict import verdict_sentence, verdict_table


@FORMATS.register("md")
def write(content: Content, folder: Path) -> list[Path]:
    """Write `report.md`, or that of the style, and `figures/*.svg`, and return their paths."""
    drawings = content.drawings
    figures = storage.make_folder(folder / "figures") if drawings else folder
    paths = [folder / f"{content.stem}.md", *(figures / f"{drawing.name}.svg" for drawing in drawings)]
    for path, drawing in zip(paths[1:], drawings, strict=True):
        storage.write_text(path, drawing.svg)
    storage.write_text(paths[0], render(content))
    return paths


def render(content: Content, *, figures: bool = True) -> str:
    """Return the report's Markdown, its drawings referred to as `figures/NAME.svg`, or without `figures` left out."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Markdown is escaped by the filters of kdbench.report.markdown; HTML's autoescape would garble it.
    environment = Environment(
        loader=PackageLoader("kdbench.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    environment.filters |= {
        "prose": markdown.prose,
        "code": markdown.code,
        "table": markdown.table,
        "sentence": sentence,
    }
    return environment.get_template("report.md.j2" if content.style is None else "style.md.j2").render(
        **parts(content),
        verdicts=[(verdict_sentence(verdict), verdict_table(verdict)) for verdict in content.verdicts],
        drawings=content.drawings if figures else [],
    )
