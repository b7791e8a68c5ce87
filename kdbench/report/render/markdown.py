"""`report.md` with its figures, as GitHub renders it; `report-STYLE.md` in a style."""

from pathlib import Path

from kdbench.files import storage
from kdbench.report import FORMATS, Content
from kdbench.report.render import parts, render_template
from kdbench.report.text import markdown
from kdbench.report.text.verdict import verdict_sentence, verdict_table

_FILTERS = {
    f.__name__: f
    for f in (markdown.prose, markdown.code, markdown.code_block, markdown.in_html, markdown.image, markdown.table)
}


@FORMATS.register("md")
def write(content: Content, folder: Path) -> list[Path]:
    """Write `report.md` or `report-STYLE.md`, and its `figures/*.svg`."""
    drawings = content.drawings
    figures = storage.make_folder(folder / "figures") if drawings else folder
    paths = [folder / f"{content.stem}.md", *(figures / f"{drawing.name}.svg" for drawing in drawings)]
    for path, drawing in zip(paths[1:], drawings, strict=True):
        storage.write_text(path, drawing.svg)
    storage.write_text(paths[0], render(content))
    return paths


def render(content: Content, *, figures: bool = True) -> str:
    """Return the report's Markdown, with links to `figures/NAME.svg` unless `figures` is false."""
    return render_template(
        "report.md.j2" if content.style is None else "style.md.j2",
        _FILTERS,
        escape=False,
        **parts(content),
        verdicts=[(verdict_sentence(verdict), verdict_table(verdict)) for verdict in content.verdicts],
        drawings=content.drawings if figures else [],
    )
