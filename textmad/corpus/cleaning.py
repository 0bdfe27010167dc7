"""Cleaning of human text: Unicode form, control characters, and what points at a person.

Pure functions of one text. Cleaning twice changes nothing more.
"""

import re
import unicodedata

# Order matters: an e-mail address holds an @name, a link may hold either.
_REPLACEMENTS = [
    (re.compile(r"\b(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]}']", re.IGNORECASE), "[link]"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "[email]"),
    (re.compile(r"(?<![\w/])/?u/[\w-]{3,20}\b"), "[user]"),
    (re.compile(r"(?<![\w@])@\w(?:[\w.]*\w)"), "[user]"),
    (re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)"), "[ip]"),
    (re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{1,4}:){3,7}:?[0-9a-fA-F]{1,4}(?![\w:])"), "[ip]"),
    # North American, then international with its plus sign. Bare digit strings are left alone:
    # years, pi and binary jokes are far more common in posts than unmarked numbers.
    (
        re.compile(r"(?<![\w.])(?:\+?1[\s.-]?)?(?:\(\d{3}\)\s?|\d{3}[\s.-])\d{3}[\s.-]\d{4}(?!\w)"),
        "[phone]",
    ),
    (re.compile(r"(?<!\w)\+\d(?:[\s().-]{0,2}\d){7,14}(?!\w)"), "[phone]"),
]
_MARK = re.compile(r"@|://|www\.|u/|\d[\d:.)\s-]", re.IGNORECASE)  # cheap: most texts have none
_UNWANTED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2060\ufeff\ud800-\udfff]")


def clean(text: str) -> str:
    r"""The text in NFC, without control characters, names and addresses replaced.

    Line breaks and tabs stay; carriage returns, zero-width spaces, direction overrides and lone
    surrogates go; white space at both ends is cut.

    >>> clean("ask @jane or  jane@example.org,\r\nsee https://example.org/x.")
    'ask [user] or  [email],\nsee [link].'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = _UNWANTED.sub("", text)
    if _MARK.search(text):
        for pattern, placeholder in _REPLACEMENTS:
            text = pattern.sub(placeholder, text)
    return text.strip()
