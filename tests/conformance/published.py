"""The published values of data-prep-kit's annotators, and the texts they were computed on."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import zstandard


def annotator(shared: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((shared / "data" / "dpk_expected.dev.json").read_text("utf-8"))[name]


def rows(shared: Path, name: str) -> list[dict[str, Any]]:
    with (shared / "data" / name).open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        return [json.loads(line) for line in lines]


def page_text(contents: str) -> str:
    """The plain text of a page that is published as XML: the values are those of this text, not of the XML."""
    main = ET.fromstring(contents).find("main")
    assert main is not None
    lines: list[str] = []
    for element in main.iter():
        if element.tag in ("p", "head"):
            lines.append(inner(element).strip())
        elif element.tag == "row":
            lines.append("".join(f"{cell.text or ''} | " for cell in element).rstrip())
    return "\n".join(lines)


def inner(element: ET.Element) -> str:
    text = element.text or ""
    for child in element:
        text += "\n" if child.tag == "lb" else inner(child)
        text += child.tail or ""
    return text


# What the XML has lost of the text that was annotated, by row: where the lines were joined into one paragraph,
# the words are still the same; where a part of the text is gone, nothing can be.
LINES_LOST = {1, 2, 6, 7, 9}
TEXT_LOST = {3}
