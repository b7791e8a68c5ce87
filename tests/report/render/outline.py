"""The elements of an HTML page, whose tags must all be closed."""

from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link", "wbr"}


class Outline(HTMLParser):
    """The elements of a page in order, each with its attributes, its text, and what it stands in."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[dict] = []
        self._open: list[dict] = []
        self.feed(page)
        self.close()
        assert not self._open, f"never closed: {[element['tag'] for element in self._open]}"

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        inside = [element["tag"] for element in self._open]
        element = {"tag": tag, **{name: value or "" for name, value in attributes}, "text": "", "inside": inside}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> ends nothing"
        assert self._open[-1]["tag"] == tag, f"</{tag}> ends <{self._open[-1]['tag']}>"
        self._open.pop()

    def handle_data(self, data):
        for element in self._open:
            element["text"] += data

    def all(self, *tags):
        return [element for element in self.elements if element["tag"] in tags]

    def tables(self):
        """Return the rows of each table as texts, by the table's caption."""
        tables_by_title, rows = {}, []
        for element in self.all("caption", "tr", "th", "td"):
            if element["tag"] == "caption":
                rows = tables_by_title[squeezed(element["text"])] = []
            elif element["tag"] == "tr":
                rows.append([])
            else:
                rows[-1].append(squeezed(element["text"]))
        return tables_by_title


def squeezed(text):
    return " ".join(text.split())
