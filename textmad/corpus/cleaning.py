r"""Clean human text: one Unicode form, no control characters, no names and addresses.

Pure functions of one text, in time linear in its length. Cleaning twice changes nothing more,
because no pattern begins right after a placeholder, and because nothing that a later pattern
replaces decides whether an earlier one matches.

Time is linear, because a pattern either begins where a run of its characters begins, or reads a
bounded number of characters, or fails only where no second attempt can begin.

Where a name or a number begins and ends depends on the script. Latin, Greek, Cyrillic, Armenian,
Georgian and Cherokee ("Western" below) put a space before it: after a letter of these, `@home` is
no user name. All other scripts may write it right beside their own letters.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate, groupby

# The blocks of Western scripts, and of the punctuation and symbols that all scripts use (Unicode
# 16, Blocks.txt). The other blocks are all that is not here: naming these is quicker to compile.
_IN_FIRST_PLANE = (
    "\u0000-\u058f\u10a0-\u10ff\u13a0-\u13ff\u1c80-\u1cbf\u1d00-\u2d2f\u2de0-\u2e7f\ua640-\ua69f"
    "\ua720-\ua7ff\uab30-\uabbf\ufb00-\ufb1c\ufe00-\ufe2f\ufeff-\uff00\uff10-\uff19\uff21-\uff3a"
    "\uff41-\uff5a\uffe0-\uffff"
)
_IN_HIGHER_PLANES = (
    "\U00010000-\U000107ff\U00012000-\U000167ff\U0001b300-\U0001dfff\U0001f000-\U0001ffff"
    "\U000e0000-\U0010ffff"
)
# Of the other scripts, those that put spaces between words and write no ending onto any word, as
# Korean does: Hebrew to Sinhala, Ethiopic, Canadian, Mongolian, Tifinagh, and more of India.
_SPACED = (
    "\u0590-\u0dff\u1200-\u139f\u1400-\u177f\u1800-\u194f\u1b00-\u1c7f\u1cc0-\u1cff\u2d30-\u2ddf"
    "\ua4d0-\ua63f\ua6a0-\ua71f\ua800-\ua95f\uaae0-\uab2f\uabc0-\uabff\ufb1d-\ufdff\ufe70-\ufefe"
    "\U00010800-\U000116ff\U00011750-\U00011fff\U0001e000-\U0001efff"
)
# Their vowel signs and other combining marks, of which `\w` has none, stand in these blocks.
_BLOCKS_WITH_MARKS = (
    "\u0300-\u036f\u0590-\u1cff\u1dc0-\u1dff\u302a-\u309a\ua66f-\uabff\ufb1e-\ufb1e"
    "\U00010a00-\U00011fff\U00016af0-\U00016fff\U0001e000-\U0001e9ff"
)


def _chosen(ranges: str, belongs: Callable[[str], object]) -> str:
    """Return the characters of `ranges` that belong, as ranges for a set of a pattern."""
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
# Western letters, also those of mathematics; the digits of all scripts; the underscore.
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
    """No placeholder stands before here, or before the `first` character, which is quicker."""
    marks = "".join(rf"(?<!{re.escape(mark)}{first})" for mark in _PLACEHOLDERS)
    return rf"(?:(?<!\]{first})|{marks})"


def _begins(behind: str = "", first: str = "") -> str:
    """Nor does a Western letter or digit stand there, nor one of `behind`."""
    return rf"(?<![{_WESTERN}{behind}]{first}){_apart(first)}"


# Order matters below: an e-mail address holds an @name, a link may hold either.

# A link ends at the first character of another script, as these are glued to it. Its path may
# hold words of such a script behind the first folder, as that of Wikipedia does.
_OTHER_DOMAIN = rf"{_LETTER}++(?:\.(?:{_LETTER}++|[{_WESTERN}]++))+"
_NOT_LAST = r".,;:!?)\]}'"
_ANYWHERE = _chosen(_IN_FIRST_PLANE, re.compile(rf"[^\s<>\"/?#{_NOT_LAST}]").match) + (
    _IN_HIGHER_PLANES
)
_IN_LINK = rf"[{_ANYWHERE}/#{_NOT_LAST}]"
_LINK = (
    rf"[hHwW]{_apart('.')}(?:(?<=[hH])[tT][tT][pP][sS]?://|(?<=[wW])[wW][wW]\."
    # Behind a word it has to look like one: "awww.that" is none.
    rf"(?:(?<![{_WESTERN}]....)|(?<=_....)|(?<=[{_WESTERN}]....)(?<![\d_wW]....)"
    rf"(?=[a-zA-Z\d-]+\.[a-zA-Z]{{2}})))"
    rf"(?:{_OTHER_DOMAIN}(?:/{_LETTER}+)?"
    # What a later pattern puts there is no link the next time.
    rf"|(?=[{_NOT_LAST}]*+[{_ANYWHERE}/#])(?![{_NOT_LAST}]*+\[(?:link|email|user|ip|phone)\]))"
    rf"[{_ANYWHERE}{_NOT_LAST.replace('?', '')}]*"
    rf"(?:[/?#](?:{_IN_LINK}+(?:(?<=[/=#&@_~+-]){_LETTER}+{_IN_LINK}*)*)?)?(?<![{_NOT_LAST}])"
)

# A word of another script before the @ belongs to the address if the domain is of such a script,
# too. If not, it does where words have spaces between them and the domain is no @first.last.
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

# North American and its like, unless behind the number of a country; then international with its
# plus sign. Bare digit strings are left alone: years, pi and binary jokes are far more common in
# posts than unmarked numbers.
_NO_COUNTRY = r"(?<!\+\d[\s.-])(?<!\+\d\d[\s.-])(?<!\+\d\d\d[\s.-])"
_PHONE = (
    rf"(?=[\d(+]){_begins('.')}{_NO_COUNTRY}(?:\+?1[\s.-]?)?(?:\(\d{{3}}\)\s?|\d{{3}}[\s.-])"
    rf"\d{{3,4}}[\s.-]\d{{4}}{_ENDS}"
)
_INTERNATIONAL_PHONE = rf"[+\uff0b]{_begins(first='.')}\d(?:[\s().-]{{0,2}}\d){{7,14}}{_ENDS}"

# Each with what a match holds one of, in lower case, as looking for that is far quicker.
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
# Most texts have none of this, which one look at each character tells.
_MARK = re.compile(
    rf"[@\uff20\ufe6b/.:\d]"
    rf"(?:(?<={_AT})|(?<=://)|(?<=www\.)|(?<=u/)|(?<=::)|(?<=\d)[\d:.)\s-])",
    re.IGNORECASE,
)
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")  # white space to Python, too
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
    lowered = text.lower()
    for needed, pattern, placeholder in _REPLACEMENTS:
        if any(map(lowered.__contains__, needed)):
            text = pattern.sub(placeholder, text)
    return text


def _remove_unwanted(text: str) -> str:
    """Return the text without unwanted characters, and without details that begin or end at one.

    A zero-width space may stand inside an address, which then reads as one without it. Anywhere
    else it separates two words, and what stands beside it is replaced before the two are joined.
    """
    parts = _UNWANTED.split(text)
    joined = "".join(parts)
    if len(parts) == 1 or not _MARK.search(joined):
        return joined
    borders = list(accumulate(map(len, parts[:-1])))  # of the parts, as positions in `joined`
    inside: set[int] = set()
    for _, pattern, _ in _REPLACEMENTS:
        for match in pattern.finditer(joined):
            first = bisect_left(borders, match.start() + 1)
            inside.update(borders[first : bisect_left(borders, match.end())])
    separated = [parts[0]]
    for border, part in zip(borders, parts[1:], strict=True):
        separated += [part] if border in inside else ["\u200b", part]
    return _UNWANTED.sub("", _replace_details("".join(separated)))


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
