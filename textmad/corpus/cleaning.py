r"""Cleaning of human text: Unicode form, control characters, and what points at a person.

Pure functions of one text, in time linear in its length, whoever wrote it. Cleaning twice changes
nothing more: what could not be replaced beside a name is not replaceable beside the placeholder
either, since no pattern begins right after one, as none begins inside a word.

Linear, because a pattern either begins where a run of its characters begins, or reads no further
than a bounded number of characters, or fails only where no second attempt can begin.
"""

import re
import unicodedata

_PLACEHOLDERS = ("[link]", "[email]", "[user]", "[ip]", "[phone]")
_APART = "".join(f"(?<!{re.escape(mark)})" for mark in _PLACEHOLDERS)

_HEX = "[0-9a-fA-F]{1,4}"
# Four to eight groups; or an abbreviated address of the ranges in use, unlike a::b of C++.
_IPV6 = (
    rf"(?:{_HEX}:){{3,7}}:?{_HEX}"
    rf"|(?:[23][0-9a-fA-F]{{3}}|[fF][cCdD][0-9a-fA-F]{{2}}|[fF][eE]80)"
    rf"(?::{_HEX}){{0,5}}::{_HEX}(?::{_HEX}){{0,5}}"
)

# Each with what a match holds one of, in lower case, as looking for that is far quicker.
# Order matters: an e-mail address holds an @name, a link may hold either.
_REPLACEMENTS = [
    (
        ("://", "www."),
        re.compile(rf"\b{_APART}(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]}}']", re.IGNORECASE),
        "[link]",
    ),
    (("@",), re.compile(rf"(?<![\w.+-]){_APART}[\w.+-]++(?:@[\w-]++(?:\.[\w-]++)+)+"), "[email]"),
    (("u/",), re.compile(rf"(?<![\w/]){_APART}/?u/[\w-]{{3,20}}+(?![\w-])"), "[user]"),
    (("@",), re.compile(rf"(?<![\w@]){_APART}(?:@\w[\w.]*\w)+"), "[user]"),
    ((".",), re.compile(rf"(?<![\w.]){_APART}(?:\d{{1,3}}\.){{3}}\d{{1,3}}+(?![\w.]*\d)"), "[ip]"),
    ((":",), re.compile(rf"(?<![\w:.]){_APART}(?:{_IPV6})(?![\w:])"), "[ip]"),
    # North American, then international with its plus sign. Bare digit strings are left alone:
    # years, pi and binary jokes are far more common in posts than unmarked numbers.
    (
        tuple("0123456789"),
        re.compile(
            rf"(?<![\w.]){_APART}(?:\+?1[\s.-]?)?(?:\(\d{{3}}\)\s?|\d{{3}}[\s.-])"
            rf"\d{{3}}[\s.-]\d{{4}}(?!\w)"
        ),
        "[phone]",
    ),
    (("+",), re.compile(rf"(?<!\w){_APART}\+\d(?:[\s().-]{{0,2}}\d){{7,14}}(?!\w)"), "[phone]"),
]
# Most texts have none of this, which one look at each character tells.
_MARK = re.compile(
    r"[@/.:\d](?:(?<=@)|(?<=://)|(?<=www\.)|(?<=u/)|(?<=::)|(?<=\d)[\d:.)\s-])", re.IGNORECASE
)
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")  # white space to Python, too
_UNWANTED = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x9f\u200b\u202a-\u202e\u2060\ufeff\ud800-\udfff]")

_MAX_MARKS = 30  # combining marks in a row; the bound of UAX #15's stream-safe text format
_MANY_MARKS = re.compile(rf"[^\w\s\x00-\x7f]{{{_MAX_MARKS + 1},}}")  # or emoji; letters never


def clean(text: str) -> str:
    r"""The text in NFC, without control characters, names and addresses replaced.

    Tabs stay, and so do line breaks, all as `\n`. Other control characters, zero-width spaces,
    direction overrides, lone surrogates, and all but the first 30 of a heap of combining marks go;
    white space at both ends is cut.

    >>> clean("ask @jane or  jane@example.org,\r\nsee https://example.org/x.")
    'ask [user] or  [email],\nsee [link].'
    """
    # Nothing unwanted is printable; asking for that is quicker than the search.
    if not text.replace("\n", "").replace("\t", "").isprintable():
        text = _LINE_END.sub("\n", text)
        text = _UNWANTED.sub("", text)  # first: what it joins may compose
    if not text.isascii():
        text = _normal_form(text)
    if _MARK.search(text):
        lowered = text.lower()
        for needed, pattern, placeholder in _REPLACEMENTS:
            if any(map(lowered.__contains__, needed)):
                text = pattern.sub(placeholder, text)
    return text.strip()


def _normal_form(text: str) -> str:
    """NFC with bounded heaps: Unicode sorts the marks of a heap, in quadratic time."""
    text = _MANY_MARKS.sub(_bounded, text)
    # Again, as a letter may fall apart into a letter and a mark.
    return _MANY_MARKS.sub(_bounded, unicodedata.normalize("NFC", text))


def _bounded(run: re.Match[str]) -> str:
    kept, num_marks = [], 0
    for char in run[0]:
        # The last part decides: some characters are no marks and fall apart into marks.
        num_marks = num_marks + 1 if _is_mark(char) else 0
        if num_marks <= _MAX_MARKS:
            kept.append(char)
    return "".join(kept)


def _is_mark(char: str) -> bool:
    return unicodedata.combining(unicodedata.normalize("NFD", char)[-1]) != 0
