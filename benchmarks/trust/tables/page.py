"""The page of results, reports/trust/README.md: written from the raw figures, never by hand."""

from collections.abc import Callable
from pathlib import Path

from benchmarks.trust.repeats import Values
from benchmarks.trust.tables import commands_table, coverage_table, decisions_table, peer_table
from benchmarks.trust.tables.markdown import table
from kdbench.files import storage

SECTIONS: dict[str, Callable[[Values], str]] = {  # by the stem of a result's file
    "coverage": coverage_table.section,
    "decisions": decisions_table.section,
    "commands": commands_table.section,
    "peer": peer_table.section,
}
NOTES = "notes.md"
_HOST = {
    "cpu": "processor",
    "cores_usable": "cores",
    "virtualization": "virtual machine",
    "governor": "frequency governor",
    "os": "system",
    "kernel": "kernel",
    "python": "Python",
}
_LIBRARIES = ("kdbench", "onnxruntime", "numpy", "torch")

_TOP = """# Are kdbench's numbers right?

Experiments on real models. `python -m benchmarks.trust.coverage --render` writes this page from the raw figures in
this folder. Requirements: `pip install -e .[dev,bench]`, Linux, and an idle machine."""


def write(folder: Path) -> Path:
    """Write the page from the results in `folder`; what `notes.md` there says of them stands at the end."""
    results = {path.name: storage.read_json(path, "result") for stem in SECTIONS for path in _files(folder, stem)}
    parts = [_TOP, *(SECTIONS[_stem(name)](result) for name, result in results.items())]
    parts += [f"## The machine of {name}\n\n{_machine(result)}" for name, result in results.items()]
    if (folder / NOTES).exists():
        parts.append((folder / NOTES).read_text(encoding="utf-8").strip())
    page = storage.make_folder(folder) / "README.md"
    storage.write_text(page, "\n\n".join(parts) + "\n")
    return page


def _files(folder: Path, stem: str) -> list[Path]:
    """Return the results of an experiment: `decisions.json`, then those of other machines, `decisions-NAME.json`."""
    return [path for path in (folder / f"{stem}.json", *sorted(folder.glob(f"{stem}-*.json"))) if path.exists()]


def _stem(name: str) -> str:
    return name.partition(".")[0].partition("-")[0]


def _machine(result: Values) -> str:
    host, libraries = result["environment"]["host"], result["environment"]["libraries"]
    known = [[text, str(host[key])] for key, text in _HOST.items() if host.get(key) is not None]
    versions = ", ".join(f"{name} {libraries[name]}" for name in _LIBRARIES if name in libraries)
    return table(["", "value"], [*known, ["libraries", versions]])
