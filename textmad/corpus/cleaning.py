r"""Clean human text: one Unicode form, no control characters, no names and addresses.

The functions are pure functions of one text.

Cleaning twice changes nothing more. No pattern begins directly after a placeholder, and no
replacement by a later pattern decides whether an earlier pattern matches.

Time is linear in the length of the text. Each pattern begins only at the start of a run of its
characters, or reads a bounded number of characters, or fails only where no second attempt can
begin.

Where a name or a number begins and ends depends on the script. Latin, Greek, Cyrillic, Armenian,
Georgian and Cherokee ("Western" below) put a space before it: after one of their letters, `@home`
is no user name. All other scripts may write it directly beside their own letters.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate, groupby

# The blocks of Western scripts and of the punctuation and symbols that all scripts use (Unicode
# 16, Blocks.txt). All other blocks hold other scripts; patterns of these blocks compile quicker.
_IN_FIRST_PLANE = (
    "\u0000-\u058f\u10a0-\u10ff\u13a0-\u13ff\u1c80-\u1cbf\u1d00-\u2d2f\u2de0-\u2e7f\ua640-\ua69f"
    "\ua720-\ua7ff\uab30-\uabbf\ufb00-\ufb1c\ufe00-\ufe2f\ufeff-\uff00\uff10-\uff19\uff21-\uff3a"
    "\uff41-\uff5a\uffe0-\uffff"
)
_IN_HIGHER_PLANES = (
    "\U00010000-\U000107ff\U00012000-\U000167ff\U0001b300-\U0001dfff\U0001f000-\U0001ffff"
    "\U000e0000-\U0010ffff"
)
# Other scripts that put spaces between words and, unlike Korean, add no endings to foreign words:
# Hebrew to Sinhala, Ethiopic, Canadian, Mongolian, Tifinagh, and more scripts of India.
_SPACED = (
    "\u0590-\u0dff\u1200-\u139f\u1400-\u177f\u1800-\u194f\u1b00-\u1c7f\u1cc0-\u1cff\u2d30-\u2ddf"
    "\ua4d0-\ua63f\ua6a0-\ua71f\ua800-\ua95f\uaae0-\uab2f\uabc0-\uabff\ufb1d-\ufdff\ufe70-\ufefe"
    "\U00010800-\U000116ff\U00011750-\U00011fff\U0001e000-\U0001efff"
)
# Blocks with vowel signs and other combining marks. `\w` does not match them.
_BLOCKS_WITH_MARKS = (
    "\u0300-\u036f\u0590-\u1cff\u1dc0-\u1dff\u302a-\u309a\ua66f-\uabff\ufb1e-\ufb1e"
    "\U00010a00-\U00011fff\U00016af0-\U00016fff\U0001e000-\U0001e9ff"
)


def _chosen(ranges: str, belongs: Callable[[str], object]) -> str:
    """Return the characters of `ranges` for which `belongs` is true, as ranges for a pattern."""
    codes = [
        code
        for low, high in zip(ranges[::3], ranges[2::3], strict=True)
        for code in range(ord(low), ord(high) + 1)
        if belongs(chr(code))
    ]
    runs = (list(run) for _, run in groupby(enumerate(codes), lambda item: item[1] - item[0]))
    bounds = ((chr(run[0][1]), chr(run[-1][1])) for run in runs)
    return "".join(f"{re.escape(first)}-{re.escape(last)}" for first, last in bounds)


_MARKS = _chosen(_BLOCKS_WITH_MARKS, lambda char: unicodedata.category(char)[0] == "M")
# Western letters with those of mathematics, the digits of all scripts, and the underscore.
_WESTERN = "\U0001d400-\U0001d7ff\U0001df00-\U0001dfff" + _chosen(
    "\u0000-\u2e7f\ua620-\uabff\ufb00-\uffff", re.compile(rf"(?=\w)[{_IN_FIRST_PLANE}]|\d").match
)

_PLACEHOLDERS = ("[link]", "[email]", "[user]", "[ip]", "[phone]")
_AT = "[@\uff20\ufe6b]"  # also the full-width and the small one
_ENDS = rf"(?![{_WESTERN}])"
_OTHER = f"[^{_IN_FIRST_PLANE}{_IN_HIGHER_PLANES}]"
_LETTER = rf"(?:{_OTHER}(?<=[\w{_MARKS}]))"  # of another script, or a vowel sign
# Joiners stand inside Indian and Persian words, a dot between the syllables of Tibetan.
_IN_NAME = rf"[\w{_MARKS}\u200c\u200d\u0f0b\u0f0c]"


def _apart(first: str = "") -> str:
    """Return a pattern: no placeholder directly before here, or before the character `first`.

    With `first` it is quicker.
    """
    marks = "".join(rf"(?<!{re.escape(mark)}{first})" for mark in _PLACEHOLDERS)
    return rf"(?:(?<!\]{first})|{marks})"


def _begins(behind: str = "", first: str = "") -> str:
    """Return a pattern: as `_apart`, and no Western letter or digit or one of `behind` either."""
    return rf"(?<![{_WESTERN}{behind}]{first}){_apart(first)}"


# The order matters: an e-mail address contains an @name, and a link may contain either.

# A link ends at the first character of another script, which may follow without a space. After the
# first folder, its path may contain words of such a script, as in Wikipedia.
_OTHER_DOMAIN = rf"{_LETTER}++(?:\.(?:{_LETTER}++|[{_WESTERN}]++))+"
_NOT_LAST = r".,;:!?)\]}'"
_ANYWHERE = _chosen(_IN_FIRST_PLANE, re.compile(rf"[^\s<>\"/?#{_NOT_LAST}]").match) + (
    _IN_HIGHER_PLANES
)
_IN_LINK = rf"[{_ANYWHERE}/#{_NOT_LAST}]"
_LINK = (
    rf"[hHwW]{_apart('.')}(?:(?<=[hH])[tT][tT][pP][sS]?://|(?<=[wW])[wW][wW]\."
    # After a letter it has to look like a link: "awww.that" is none.
    rf"(?:(?<![{_WESTERN}]....)|(?<=_....)|(?<=[{_WESTERN}]....)(?<![\d_wW]....)"
    rf"(?=[a-zA-Z\d-]+\.[a-zA-Z]{{2}})))"
    rf"(?:{_OTHER_DOMAIN}(?:/{_LETTER}+)?"
    # A placeholder that a later pattern leaves here is no link at the next cleaning.
    rf"|(?=[{_NOT_LAST}]*+[{_ANYWHERE}/#])(?![{_NOT_LAST}]*+\[(?:link|email|user|ip|phone)\]))"
    rf"[{_ANYWHERE}{_NOT_LAST.replace('?', '')}]*"
    rf"(?:[/?#](?:{_IN_LINK}+(?:(?<=[/=#&@_~+-]){_LETTER}+{_IN_LINK}*)*)?)?(?<![{_NOT_LAST}])"
)

# A word of another script before the @ belongs to the address if the domain is of such a script
# too. With a Western domain it belongs to the address if its script puts spaces between words and
# the domain looks usual, which @first.last does not.
_WESTERN_DOMAIN = rf"[{_WESTERN}-]++(?:\.[{_WESTERN}-]++)+"
_USUAL_DOMAIN = (
    rf"(?=(?:[{_WESTERN}-]+\.)+(?i:com|org|net|edu|gov|info|[a-z]{{2}})(?![.-]?[{_WESTERN}]))"
    rf"{_WESTERN_DOMAIN}"
)
_EMAIL = (
    rf"{_begins('.+-')}[{_WESTERN}.+-]++(?:{_AT}(?:{_WESTERN_DOMAIN}|{_OTHER_DOMAIN}))+"
    rf"|{_OTHER}(?<=[\w{_MARKS}])(?<![\w{_MARKS}.+-].){_apart('.')}(?:{_LETTER}|[\d._+-])*+{_AT}"
    rf"(?:{_OTHER_DOMAIN}|(?<=[{_SPACED}].){_USUAL_DOMAIN})"
)

_NAME = (  # two characters or more
    rf"(?:(?:[{_WESTERN}]{{2}}|[{_WESTERN}](?=\.+[{_WESTERN}]))"
    rf"[{_WESTERN}]*+(?:\.++[{_WESTERN}]++)*+"
    rf"|{_OTHER}(?<=\w){_IN_NAME}++(?:\.++{_IN_NAME}++)*+)"
)
_USER = (
    rf"{_AT}(?<!{_AT}{_AT}){_apart(_AT)}(?:(?<![{_WESTERN}]{_AT})|(?={_OTHER}))"
    rf"{_NAME}(?:{_AT}{_NAME})*"
)
_REDDIT_USER = rf"{_begins('/')}/?u/[{_WESTERN}-]{{3,}}+"

# No digit may follow in the same run: 1.2.3.4.5 is a version.
_IPV4 = (
    rf"\d{_begins('.', '.')}\d{{0,2}}\.(?:\d{{1,3}}\.){{2}}\d{{1,3}}+"
    rf"(?![{_WESTERN}.]*\d)"
)
_HEX = "[0-9a-fA-F]{1,4}"
# Four to eight groups; or an abbreviated address of the ranges in use, unlike a::b of C++.
_IPV6 = (
    rf"(?=[0-9a-fA-F]){_begins(':.')}(?:(?:{_HEX}:){{3,7}}:?{_HEX}"
    rf"|(?:[23][0-9a-fA-F]{{3}}|[fF][cCdD][0-9a-fA-F]{{2}}|[fF][eE]80)"
    rf"(?::{_HEX}){{0,5}}::{_HEX}(?::{_HEX}){{0,5}}){_ENDS}(?!:)"
)

# First North American numbers and their like, unless a country code precedes them; then
# international ones with a plus sign. Plain strings of digits stay: in posts, years, pi and binary
# jokes are far more common than phone numbers without separators.
_NO_COUNTRY = r"(?<!\+\d[\s.-])(?<!\+\d\d[\s.-])(?<!\+\d\d\d[\s.-])"
_PHONE = (
    rf"(?=[\d(+]){_begins('.')}{_NO_COUNTRY}(?:\+?1[\s.-]?)?(?:\(\d{{3}}\)\s?|\d{{3}}[\s.-])"
    rf"\d{{3,4}}[\s.-]\d{{4}}{_ENDS}"
)
_INTERNATIONAL_PHONE = rf"[+\uff0b]{_begins(first='.')}\d(?:[\s().-]{{0,2}}\d){{7,14}}{_ENDS}"

# Each pattern with strings, in lower case, of which a match contains one. Looking for these first
# is far quicker.
_AT_SIGNS = ("@", "\uff20", "\ufe6b")
_REPLACEMENTS = [
    (("://", "www."), re.compile(_LINK), "[link]"),
    (_AT_SIGNS, re.compile(_EMAIL), "[email]"),
    (("u/",), re.compile(_REDDIT_USER), "[user]"),
    (_AT_SIGNS, re.compile(_USER), "[user]"),
    ((".",), re.compile(_IPV4), "[ip]"),
    ((":",), re.compile(_IPV6), "[ip]"),
    (("",), re.compile(_PHONE), "[phone]"),  # digits of any script
    (("+", "\uff0b"), re.compile(_INTERNATIONAL_PHONE), "[phone]"),
]
# Most texts match none of the patterns. This one decides that quickly.
_MARK = re.compile(
    rf"[@\uff20\ufe6b/.:\d]"
    rf"(?:(?<={_AT})|(?<=://)|(?<=www\.)|(?<=u/)|(?<=::)|(?<=\d)[\d:.)\s-])",
    re.IGNORECASE,
)
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")  # Python's white space too
_UNWANTED = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x9f\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff\ud800-\udfff]+"
)

_MAX_MARKS = 30  # combining marks in a row; the bound of UAX #15's stream-safe text format
_MANY_MARKS = re.compile(rf"[^\w\s\x00-\x7f]{{{_MAX_MARKS + 1},}}")  # or emoji; letters never


def clean(text: str) -> str:
    r"""Return the text in NFC, without control characters, with names and addresses replaced.

    Tabs stay, and so do line breaks, all as `\n`. Other control characters, zero-width spaces,
    direction overrides, lone surrogates, and all but the first 30 of a heap of combining marks are
    removed; white space at both ends is cut.

    >>> clean("ask @jane or  jane@example.org,\r\nsee https://example.org/x.")
    'ask [user] or  [email],\nsee [link].'
    """
    # Nothing unwanted is printable; asking for that is quicker than the search.
    if not text.replace("\n", "").replace("\t", "").isprintable():
        text = _LINE_END.sub("\n", text)
        text = _remove_unwanted(text)  # first: what it joins may compose
    if not text.isascii():
        text = _normal_form(text)
    if _MARK.search(text):
        text = _replace_details(text)
    return text.strip()


def _replace_details(text: str) -> str:
    for pattern, placeholder in _possible(text):
        text = pattern.sub(placeholder, text)
    return text


def _possible(text: str) -> list[tuple[re.Pattern[str], str]]:
    """Return the patterns with their placeholders of which the text holds what they need."""
    lowered = text.lower()
    return [
        (pattern, placeholder)
        for needed, pattern, placeholder in _REPLACEMENTS
        if any(map(lowered.__contains__, needed))
    ]


def _remove_unwanted(text: str) -> str:
    """Return the text without unwanted characters, and with the details beside them replaced.

    A zero-width space inside an address is removed, and the address is found without it. Elsewhere
    it separates two words: details are replaced in each word before the two are joined.
    """
    parts = _UNWANTED.split(text)
    joined = "".join(parts)
    if len(parts) == 1 or not _MARK.search(joined):
        return joined
    borders = list(accumulate(map(len, parts[:-1])))  # of the parts, as positions in `joined`
    inside: set[int] = set()
    for pattern, _ in _possible(joined):
        for match in pattern.finditer(joined):
            first = bisect_left(borders, match.start() + 1)
            inside.update(borders[first : bisect_left(borders, match.end())])
    separated = [parts[0]]
    for border, part in zip(borders, parts[1:], strict=True):
        separated += [part] if border in inside else ["\u200b", part]
    words = "".join(separated)
    return _UNWANTED.sub("", _replace_details(words)) if _MARK.search(words) else joined


def _normal_form(text: str) -> str:
    """Return the text in NFC, with at most 30 marks in a row.

    NFC sorts the marks in a row, in quadratic time.
    """
    text = _MANY_MARKS.sub(_bounded, text)
    # Again, because NFC may split a character into a letter and a mark.
    return _MANY_MARKS.sub(_bounded, unicodedata.normalize("NFC", text))


def _bounded(run: re.Match[str]) -> str:
    kept, num_marks = [], 0
    for char in run[0]:
        # The last part decides: NFC splits some characters that are no marks into marks.
        num_marks = num_marks + 1 if _is_mark(char) else 0
        if num_marks <= _MAX_MARKS:
            kept.append(char)
    return "".join(kept)


def _is_mark(char: str) -> bool:
    return unicodedata.combining(unicodedata.normalize("NFD", char)[-1]) != 0
