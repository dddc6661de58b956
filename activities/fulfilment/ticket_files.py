"""Reading the QR codes of a picture or a PDF, as a phone's camera would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pypdfium2
import zxingcpp
from PIL import Image, UnidentifiedImageError

_SCALE = 2.5
"""Of a page: 180 points to the inch."""
MOST_PAGES = 1_000


class Unreadable(ValueError):
    """Neither a picture nor a PDF that can be read."""


def codes_in(path: Path) -> list[str]:
    """The texts of the file's QR codes, page by page. Raises Unreadable, OSError."""
    content = path.read_bytes()
    pictures = _pages(content) if content.startswith(b"%PDF") else _picture(path)
    return [code.text for picture in pictures for code in _codes(picture)]


def _codes(picture: Image.Image) -> list[zxingcpp.Barcode]:
    return list(zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode])))


def _pages(content: bytes) -> Iterator[Image.Image]:
    try:
        with pypdfium2.PdfDocument(content) as document:
            for number in range(min(len(document), MOST_PAGES)):
                yield document[number].render(scale=_SCALE, grayscale=True).to_pil()
    except pypdfium2.PdfiumError as error:
        raise Unreadable(f"not a PDF that can be read: {error}") from None


def _picture(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as picture:
            yield picture.convert("L")
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise Unreadable("neither a picture nor a PDF") from None
