"""Text that came from outside, made harmless: one line, bounded, without what draws over its surroundings."""

from __future__ import annotations

import re
import unicodedata

MAX_NAME = 160
"""Characters of a name in e-mails and on tickets."""
_BLANKS = re.compile(r"\s+")
_JOINERS = frozenset("\u200c\u200d")
"""Of what has no shape of its own, all that stays: overrides of direction turn round what stands beside the text."""
_DROPPED = frozenset({"Cf", "Cs", "Co", "Cn"})
_MOST_MARKS = 2
"""On one letter. More of them pile up over the lines above."""
_LOOKED_AT = 4_000


def plain(text: str, most: int = MAX_NAME) -> str:
    """The text on one line: no control characters, no overrides of direction, few marks, at most `most` characters.

    Never empty: a dash stands for nothing.
    """
    normal = unicodedata.normalize("NFC", text[:_LOOKED_AT])
    spaced = "".join(" " if unicodedata.category(one) in {"Cc", "Zl", "Zp"} else one for one in normal)
    line = _BLANKS.sub(" ", "".join(_without_piles(spaced))).strip()
    return (line if len(line) <= most else line[: most - 1].rstrip() + "…") or "–"  # noqa: RUF001  # a dash


def _without_piles(text: str) -> list[str]:
    kept, marks = [], 0
    for one in text:
        kind = unicodedata.category(one)
        marks = marks + 1 if kind in {"Mn", "Me"} else 0
        if marks <= _MOST_MARKS and (kind not in _DROPPED or one in _JOINERS):
            kept.append(one)
    return kept
