"""docs/ci.md names the options that there are, and no others; its example is Python."""

import ast
import re
from pathlib import Path

from kdbench.testing.settings import OPTIONS

CI = (Path(__file__).parents[2] / "docs" / "ci.md").read_text(encoding="utf-8")


def test_every_option_is_explained_and_no_other():
    assert set(re.findall(r"--kdbench-([a-z]+(?:-[a-z]+)*)", CI)) == {option.name for option in OPTIONS}


def test_the_example_parses():
    (example,) = re.findall(r"^```python\n(.*?)^```", CI, re.DOTALL | re.MULTILINE)
    assert any(isinstance(node, ast.FunctionDef) for node in ast.parse(example).body)
