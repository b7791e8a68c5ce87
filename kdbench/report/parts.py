"""What a whole report consists of, whatever it is drawn with: one set of names for all templates."""

from typing import Any

from kdbench.report import method, prose, provenance
from kdbench.report.cautions import cautions
from kdbench.report.content import Content
from kdbench.report.portable import portable, portable_recipe

LEADING = 2  # tables before the warnings and figures: what a reader acts on


def parts(content: Content) -> dict[str, Any]:
    """Return the parts of a report by the names that the templates know them by; figures are the format's own."""
    import tomli_w

    record, built = content.record, content.tables
    return {
        "record": record,
        "layout": content.layout,
        "paragraph": prose.paragraph(record),
        "leading": built[:LEADING],
        "following": built[LEADING:],
        "cautions": cautions(record),
        "notes": method.notes(record),
        "glossary": provenance.glossary(record),
        "environment": provenance.environment(record),
        "files": provenance.model_files(record),
        "command": portable(record.command),
        "recipe": tomli_w.dumps(portable_recipe(record.recipe)).strip() if record.recipe else "",
    }
