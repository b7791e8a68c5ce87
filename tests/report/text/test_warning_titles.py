import re
from pathlib import Path

import kdbench
from kdbench.measure.latency.diagnosis import _REMEDIES
from kdbench.report.text.warning_titles import _TITLES, warning_title


def test_every_warning_has_a_title():
    sources = (file.read_text() for file in Path(kdbench.__file__).parent.rglob("*.py"))
    written = {code for text in sources for code in re.findall(r'(?:\bcode=|\bPreflightWarning\()\s*"(\w+)"', text)}
    assert len(written) > 30
    assert written | {*_REMEDIES} == {*_TITLES}


def test_an_unknown_code_becomes_words():
    assert warning_title("of_a_later_version") == "of a later version"
