"""Names of other people in files that are more than text: Markdown, and tables of a spreadsheet.

Names of arms, metrics, files and communities come from recipes, folders and corpora that anybody
may have made. The HTML pages escape them by themselves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from textmad.rating.exchange import formula_free

if TYPE_CHECKING:
    import pandas as pd


def markdown(text: str) -> str:
    r"""Return a text in which nothing is HTML, an image or a link when Markdown is displayed.

    >>> print(markdown("a < b, [1, 2], <img src=x> ![y](z)"))
    a < b, [1, 2], \<img src=x> ![y]\(z)
    """
    text = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in text.replace("\n", " ")
    )
    text = re.sub(r"\\(?=[<(\\])", r"\\\\", text)
    return re.sub(r"<(?=[A-Za-z/!?])", r"\\<", text).replace("](", r"]\(")


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Return a table as CSV in which no text is a formula to a spreadsheet."""
    safe = frame.copy()
    for name in safe.columns:
        safe[name] = [formula_free(cell) if isinstance(cell, str) else cell for cell in safe[name]]
    safe.columns = [formula_free(str(name)) for name in safe.columns]
    data: bytes = safe.to_csv(index=False, lineterminator="\n").encode()
    return data
