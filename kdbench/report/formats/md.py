"""`report.md` with its figures: the report a person reads, as Markdown for GitHub; `report-STYLE.md` in a style."""

from pathlib import Path

from kdbench import storage
from kdbench.report import FORMATS, Content, markdown, method, prose, provenance
from kdbench.report.cautions import cautions
from kdbench.report.cells import sentence
from kdbench.report.portable import portable, portable_recipe
from kdbench.report.verdict import verdict_sentence, verdict_table

LEADING = 2  # tables before the warnings and figures: what a reader acts on


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
    import tomli_w
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
    record, built = content.record, content.tables
    return environment.get_template("report.md.j2" if content.style is None else "style.md.j2").render(
        layout=content.layout,
        record=record,
        verdicts=[(verdict_sentence(verdict), verdict_table(verdict)) for verdict in content.verdicts],
        paragraph=prose.paragraph(record),
        leading=built[:LEADING],
        following=built[LEADING:],
        cautions=cautions(record),
        drawings=content.drawings if figures else [],
        notes=method.notes(record),
        glossary=provenance.glossary(record),
        environment=provenance.environment(record),
        files=provenance.model_files(record),
        command=portable(record.command),
        recipe=tomli_w.dumps(portable_recipe(record.recipe)).strip() if record.recipe else "",
    )
