"""`kdbench open`: a run's report in the browser."""

import os
import shlex
import webbrowser
from pathlib import Path

from kdbench.cli import console
from kdbench.cli.options import Json, RunPath
from kdbench.errors import InputError


def open_(run: RunPath, json: Json = False) -> None:
    """Open a run's report.html in the browser, without a server.

    The page is one self-contained file. kdbench prints its path, and nothing else happens if there is no browser with a
    window. With --json the result is {"file": …, "opened": …}.

    Example: kdbench open runs/first
    """
    from kdbench.results.run_folder import RECORD, RunFolder

    folder = RunFolder.of(run)
    page = next((path.absolute() for path in folder.reports if path.suffix == ".html"), None)
    if page is None:
        how = f"kdbench report {shlex.quote(str(folder.path))} --format html"
        if folder.record_name != RECORD:
            how = f"copy the record to {RECORD} in a folder of its own, and run kdbench report FOLDER --format html"
        raise InputError(f"{folder.record} has no report.html", f"write it: {how}")
    opened = _open(page)
    if json:
        console.result_json({"file": str(page), "opened": opened})
        return
    console.result(str(page))
    if not opened:
        console.say("there is no browser here; open the file in one")


def _open(page: Path) -> bool:
    """Open a page in a browser with a window of its own; return whether there is one that began."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    # One for the terminal, unless the user chose it, would take it over until it ends, and shows no figure.
    if type(browser).__name__ in {"GenericBrowser", "Elinks"} and "BROWSER" not in os.environ:
        return False
    return browser.open(page.as_uri())
