"""What tests read of a page: its elements, and a name that would act if it were not escaped."""

from __future__ import annotations

from html.parser import HTMLParser

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'</title></style></svg>{{7*7}}${`"


class Elements(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += attrs
