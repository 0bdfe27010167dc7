"""HTML character references, such as `&amp;`, in text that is no HTML.

The interfaces of Reddit and Twitter escape text, and some dumps escape it once more.
"""

import html
import re
from html.entities import html5

# Well-formed ones only: "AT&T;" and "&copy that" are what somebody wrote.
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
_TIMES = 2


def unescape(text: str) -> str:
    """Return the text with character references replaced by their characters, twice at most.

    >>> unescape("Tom &amp; Jerry &amp;gt; Q&A")
    'Tom & Jerry > Q&A'
    """
    for _ in range(_TIMES):
        if "&" not in text:
            break
        text = _REFERENCE.sub(_character, text)
    return text


def holds_reference(text: str) -> bool:
    """Return whether there is a well-formed character reference in the text.

    >>> holds_reference("Tom &amp; Jerry"), holds_reference("Q&A; more")
    (True, False)
    """
    return "&" in text and any(_character(match) != match[0] for match in _REFERENCE.finditer(text))


def _character(reference: re.Match[str]) -> str:
    name = reference[0][1:]
    return html.unescape(reference[0]) if name.startswith("#") or name in html5 else reference[0]
