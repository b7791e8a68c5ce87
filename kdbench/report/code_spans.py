"""Code in sentences, between backticks: names of models, metrics, options and commands.

A name may have backticks of its own: in `a`b.onnx` the second one is part of the name, because a letter follows it.
"""

import re

_OPENING = r"\s(\[{/\"'“=,;:+–—-"
# A span begins after a blank or an opening mark, and ends before a blank or a closing one. A backtick within it could
# do neither, so that the search for an end stops where the next span may begin, and takes no minutes.
_BEGINS = rf"(?<![^{_OPENING}])"
_ENDS = r"[.,;:!?…)\]}'\"”]*(?:\s|$)|[/+–—='-]"
_CODE_SPAN = re.compile(rf"{_BEGINS}`((?:[^`]|(?<=[^{_OPENING}])`(?!{_ENDS}))+)`(?={_ENDS})")


def split_code(text: str) -> list[str]:
    """Return the parts of a sentence: words and code in turn, beginning and ending with words, without backticks.

    >>> split_code("Of `a`b`: `x`.")
    ['Of ', 'a`b', ': ', 'x', '.']
    """
    return _CODE_SPAN.split(text)


def without_marks(text: str) -> str:
    """Return a sentence without the backticks around its code."""
    return "".join(split_code(text))
