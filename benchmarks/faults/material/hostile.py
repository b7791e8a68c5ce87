"""Names that try to be more than text, each with what it tries."""

import random

# By what shows them: Markdown, HTML, spreadsheets, terminals, XML, file systems.
TEXTS = (
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "</table></details><h1>PASS</h1>",
    "![a](https://evil.example/a.png)",
    "[a](https://evil.example)",
    "[a]: https://evil.example",
    "https://evil.example www.evil.example a@evil.example",
    "@octocat #1 GH-1 :tada: $x^2$ <!-- x -->",
    "a | b | c",
    "``<img src=x>`",
    "```\n# x\n```",
    "# head",
    "- [ ] task",
    "1. one",
    "> quote",
    "---",
    "**bold** _em_ ~~del~~ &lt; \\",
    "two\nlines",
    "cr\rback",
    "crlf\r\nend",
    "page\x0cvt\x0bend",
    "sep\u2028par\u2029nel\x85",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(A1:A9)",
    "\t=1+1",
    '"=1+1"',
    "a,b;c\"d'e",
    "red \x1b[31m\x1b]0;title\x07",
    "csi \x9b31m del \x7f",
    "nul \x00 end",
    "bell \x07 back \x08\x08",
    "rtl \u202egnp.exe",
    "marks \u200e\u200f\u061c\u2066x\u2069",
    "unseen \u200b\ufeff\u2060 tag \U000e0041",
    "no character \ufffe \uffff \ufdd0",
    "]]> <![CDATA[ <?xml ?> &amp; &#0;",
    "$\\frac{1}{0}$ $x$ \\n",
    "_underscore",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\con",
    "-rf",
    "--help",
    "",
    " ",
    "x" * 3000,
    "\u0645\u0648\u062f\u0644",
    "e\u0301\u0302\u0303" * 20,
    "\U0001f600 \u2603 \u4e2d\u6587",
    "{{ 7 * 7 }} {% x %} ${x} %s {0}",
    "::error::x",
    "##[error]x",
    "##vso[task.setvariable variable=PATH]x",
)
_PIECES = "`*_~<>[]()!#@&;:/\\|$=+-.,'\"\t\n\r\x1b\x00\x9b\u202e\u200b\u2028\ufffeaZ1 \u00e9\u4e2d\U0001f600"


def texts(seed: int, drawn: int) -> list[str]:
    """Return all listed names and `drawn` random ones."""
    dice = random.Random(seed)
    return [*TEXTS, *("".join(dice.choices(_PIECES, k=dice.randint(1, 24))) for _ in range(drawn))]
