"""Setting lines of text in a PDF: FiraGO, wrapped and cut to fit, whatever the text is. For the renderer's process."""

from __future__ import annotations

import io
import unicodedata
from functools import cache

from bidi.algorithm import get_display
from pymupdf_fonts import FiraGO_Bold, FiraGO_Regular
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

REGULAR, BOLD = "FiraGO", "FiraGO-Bold"
_ELLIPSIS = "…"
_MISSING = "▯"
_NO_SHAPE = frozenset({"So", "Sk", "Cf", "Mn", "Me", "Cn", "Co", "Cs", "Cc"})
"""Characters that are left out when the font has none of them: emoji and their modifiers, joiners."""


@cache
def register_fonts() -> frozenset[int]:
    """Make the fonts known to reportlab, once; the code points that they have."""
    faces = []
    for name, module in ((REGULAR, FiraGO_Regular), (BOLD, FiraGO_Bold)):
        font = TTFont(name, io.BytesIO(module.fontbuffer))
        pdfmetrics.registerFont(font)
        faces.append(frozenset(font.face.charToGlyph))
    return faces[0] & faces[1]


def drawable(text: str) -> str:
    """The text with only what the font has: emoji are left out, other characters become a box."""
    known = register_fonts()
    kept = "".join(
        one if ord(one) in known else ("" if unicodedata.category(one) in _NO_SHAPE else _MISSING) for one in text
    )
    return " ".join(kept.split()) or "–"  # noqa: RUF001  # a dash


def width(text: str, font: str, size: float) -> float:
    """In points."""
    return float(pdfmetrics.stringWidth(text, font, size))


def fitted(text: str, font: str, size: float, room: float, most: int = 1) -> list[str]:
    """The text in at most `most` lines of `room` points; cut with an ellipsis where it is longer. Ready to be drawn."""
    lines: list[str] = []
    words = drawable(text).split(" ")
    while words and len(lines) < most:
        line, words = _take(words, font, size, room)
        lines.append(line)
    if words:
        lines[-1] = _cut(lines[-1], font, size, room)
    return [_in_order(line) for line in lines]


def _take(words: list[str], font: str, size: float, room: float) -> tuple[str, list[str]]:
    """As many words as fit on a line, and the rest; a word that is too long for a line of its own is broken."""
    line = ""
    for place, word in enumerate(words):
        longer = f"{line} {word}".lstrip()
        if width(longer, font, size) > room:
            if line:
                return line, words[place:]
            fits = _longest(word, font, size, room)
            return word[:fits], [word[fits:], *words[place + 1 :]]
        line = longer
    return line, []


def _longest(word: str, font: str, size: float, room: float) -> int:
    """How many of the word's characters fit; one at least."""
    low, high = 1, len(word)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(word[:middle], font, size) <= room else (low, middle - 1)
    return low


def _cut(line: str, font: str, size: float, room: float) -> str:
    while line and width(line + _ELLIPSIS, font, size) > room:
        line = line[:-1]
    return line.rstrip() + _ELLIPSIS


def _in_order(line: str) -> str:
    """From left to right as it is drawn: Hebrew and Arabic are stored in the order in which they are read."""
    if any(unicodedata.bidirectional(one) in {"R", "AL"} for one in line):
        return str(get_display(line))
    return line
