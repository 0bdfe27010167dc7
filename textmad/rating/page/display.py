"""Texts of any kind made safe to show: nothing in them can act on the page around them."""

from __future__ import annotations

import re

# Control characters, and the marks that change the direction of all that follows. Other marks of
# direction are part of right-to-left text; they end with the text, which the page isolates.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def displayed(text: str) -> str:
    r"""Return a text with line ends as \n, and a visible sign for each control character.

    >>> displayed("a\x00b\r\nc")
    'a␀b\nc'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _HIDDEN.sub(lambda match: _sign_of(ord(match[0])), text)


def _sign_of(code: int) -> str:
    return chr(0x2400 + code) if code < 0x20 else f"[U+{code:04X}]"
