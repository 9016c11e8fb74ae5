"""Reads pages as a browser without scripts would: elements, forms, texts."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

from typing_extensions import override

VOID = {"meta", "link", "input", "br", "img"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    def find(self, tag: str, **attributes: str) -> list["Element"]:
        found = []
        for child in self.children:
            wanted = {name.rstrip("_"): value for name, value in attributes.items()}
            if child.tag == tag and wanted.items() <= child.attributes.items():
                found.append(child)
            found += child.find(tag, **attributes)
        return found

    def fields(self) -> dict[str, str]:
        """What a form sends as it stands."""
        return {
            element.attributes["name"]: element.attributes.get("value", "")
            for element in self.find("input")
            if "name" in element.attributes
        }


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("root", {})
        self.open = [self.root]
        self.faults: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if self.open[-1].tag == tag:
            self.open.pop()
        else:
            self.faults.append(f"</{tag}> closes <{self.open[-1].tag}>")

    @override
    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


def read(html: str) -> Element:
    """Raise unless every element is closed in its place."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert not reader.faults, reader.faults
    assert len(reader.open) == 1, [element.tag for element in reader.open]
    return reader.root
