"""Characters that act on what shows them; the properties hold for every text that Python can hold."""

import json
import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.characters import escaped, for_log, is_plain, one_line, shortened, visible, without_commands

ANY = st.text(st.characters(exclude_categories=()))  # lone surrogates too
# Formatting characters of a script or of one letter, which do nothing to the text around them.
HARMLESS = {*"\u00ad\u200c\u200d"} | {
    chr(point)
    for first, last in ((0x600, 0x605), (0x890, 0x891), (0x13430, 0x1343F), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A))
    for point in range(first, last + 1)
}
HARMLESS |= {*"\u06dd\u070f\u08e2\U000110bd\U000110cd"}


def test_every_character_without_a_shape_is_unsafe_and_no_other() -> None:
    unsafe = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    for character in map(chr, range(sys.maxunicode + 1)):
        point = ord(character)
        nothing = 0xFDD0 <= point <= 0xFDEF or point & 0xFFFE == 0xFFFE  # Unicode: noncharacters
        reserved = 0x2060 <= point <= 0x206F or 0xE0000 <= point <= 0xE007F
        expected = nothing or reserved or (unicodedata.category(character) in unsafe and character not in HARMLESS)
        assert is_plain(character) is not (expected and character != "\t"), f"U+{point:04X}"
        assert not (expected and character.isprintable()), "escaped relies on it"


@given(ANY)
def test_what_is_shown_is_plain_and_fits_every_encoding_of_unicode(text: str) -> None:
    assert all(is_plain(line) for line in visible(text).split("\n"))
    assert is_plain(one_line(text))
    assert "\t" not in one_line(text)
    visible(text).encode()


@given(st.text(st.characters(categories=("L", "M", "N", "P", "S", "Zs"))))
def test_ordinary_text_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == one_line(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red \x1b[31m", r"red \x1b[31m"),
        ("a\u202eb", r"a\u202eb"),
        ("a\0b\x9b", r"a\x00b\x9b"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("a \r\n\n b\tc\u2028d", "a b c d"),
    ],
)
def test_codes_and_lines(text: str, expected: str) -> None:
    assert one_line(text) == expected


@given(ANY)
def test_json_keeps_its_value(text: str) -> None:
    written = escaped(json.dumps({text: [text]}, ensure_ascii=False, indent=2))
    assert json.loads(written) == {text: [text]}
    assert all(is_plain(line) for line in written.split("\n"))
    written.encode()


def command(line: str) -> bool:
    """Return whether a CI system obeys a line, as the sources of GitHub's runner and Azure's agent read it."""
    words = line.lstrip()
    mark, bracket = line.find("##"), re.search(r"##\w*\[", line)
    return (words.startswith("::") and words.find("::", 2) >= 0) or (mark >= 0 and bracket is not None)


PIECES = ("::", "##", "[", "error", "vso", "#", ":", " ", "\n", "\r", "\u3000", "x", "]")


@given(st.lists(st.sampled_from(PIECES)).map("".join) | ANY)
def test_no_line_of_a_log_is_a_command_to_a_ci_system(text: str) -> None:
    assert not any(map(command, re.split(r"[\n\r]", for_log(text))))
    written = json.dumps({text: text}, ensure_ascii=False, indent=2)
    quoted = without_commands(escaped(written), r"\u{:04x}")
    assert not any(map(command, quoted.split("\n")))
    assert json.loads(quoted) == {text: text}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("::error::x", r"\x3a:error::x"),
        ("a\n  ::add-mask::b", "a\n  \\x3a:add-mask::b"),
        ("a ##vso[task.setvariable variable=PATH]b", r"a \x23#vso[task.setvariable variable=PATH]b"),
        ("###[error]", r"#\x23#[error]"),
        ("a::b::c", "a::b::c"),
        ("## head [1]", "## head [1]"),
    ],
)
def test_commands_to_ci_systems_are_shown(text: str, expected: str) -> None:
    assert for_log(text) == expected


def test_a_text_is_cut_where_it_is_longer() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "abc…"


def test_a_line_of_a_million_blanks_takes_no_longer_than_other_lines() -> None:
    blanks = " " * 1_000_000  # minutes, if every blank began a search for the line's end
    assert one_line(f"a{blanks}b\t \nc") == f"a{blanks}b c"
    for long in (blanks, "#" * 1_000_000, "##w" * 300_000, "::" + ":" * 1_000_000, "\n" * 1_000_000 + "::a::"):
        assert len(for_log(f"::##{long}")) >= len(long)
