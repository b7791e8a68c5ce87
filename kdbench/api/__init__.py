"""The Python API: what `import kdbench` offers, one file per topic. Results are objects that a notebook displays.

`kdbench.__init__` names what is public; everything else in the package is private and may change. Functions take paths
as text or Path, show their progress in a notebook, and raise `KdbenchError`, whose hint a traceback shows. They compose
`workflows`, `judge` and `report`, and are imported when their name is used.
"""

from collections.abc import Mapping

_STORED = ("read", "write", "to_json")
PUBLIC_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "Comparison": ("regressions", "exit_code", *_STORED),
    "Measure": (),
    "Measurement": (),
    "ModelCard": ("outputs", *_STORED),
    "Pair": (),
    "Recipe": ("hash",),
    "RunRecord": ("cards", "find", "find_pair", "hash", *_STORED),
    "Verdict": ("outcome", "nearest", "exit_code", *_STORED),
}
"""The public members of the values besides their fields; other classes are public as a whole."""
