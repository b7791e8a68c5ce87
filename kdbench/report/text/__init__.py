"""The sentences of a report: about a record, a verdict, a comparison or a history, and how to read it.

Each module also builds the tables that only its own text needs; `markdown` writes sentences and tables as Markdown.
It imports `results`, `tables` and `figures`; `render`, `testing` and `cli` import it.
"""
