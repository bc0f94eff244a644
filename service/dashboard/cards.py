"""A model card, Markdown from a bundle, as HTML that can carry nothing but text."""

import re
from collections.abc import MutableMapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

METADATA = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
LOWEST_HEADING = 6


class CardRenderer(RendererHTML):
    """Headings stand below the page's own, and a wide table scrolls by itself, also from the keyboard."""

    def heading_open(self, tokens: Sequence[Token], index: int, *_rest: Any) -> str:
        return f"<h{_level(tokens[index].tag)}>"

    def heading_close(self, tokens: Sequence[Token], index: int, *_rest: Any) -> str:
        return f"</h{_level(tokens[index].tag)}>\n"

    def table_open(self, *_token: Any) -> str:
        return '<div class="scroll" role="region" aria-label="Table of the card" tabindex="0"><table class="data">\n'

    def table_close(self, *_token: Any) -> str:
        return "</table></div>\n"


def card_html(markdown: str) -> Markup:
    """Without the metadata at its start. HTML in the card is shown as text, and nothing in it is a link or an image."""
    parser = (
        MarkdownIt("commonmark", {"html": False}, renderer_cls=CardRenderer)
        .enable("table")
        .disable(["image", "link", "autolink"])
    )
    environment: MutableMapping[str, Any] = {}
    return Markup(parser.render(METADATA.sub("", markdown, count=1), environment))


def _level(tag: str) -> int:
    return min(int(tag[1]) + 2, LOWEST_HEADING)
