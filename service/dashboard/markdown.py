"""Markdown inside a page: the card of a model, and documents of the package."""

from collections.abc import MutableMapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

LOWEST_HEADING = 6
HEADING_OFFSET = "heading_offset"


class PartOfPage(RendererHTML):
    """Lowers the level of headings, and makes wide tables scroll, also with the keyboard."""

    def heading_open(self, tokens: Sequence[Token], index: int, _options: Any, environment: Any) -> str:
        return f"<h{_level(tokens[index].tag, environment)}>"

    def heading_close(self, tokens: Sequence[Token], index: int, _options: Any, environment: Any) -> str:
        return f"</h{_level(tokens[index].tag, environment)}>\n"

    def table_open(self, *_token: Any) -> str:
        return '<div class="scroll" role="region" aria-label="Table" tabindex="0"><table class="data">\n'

    def table_close(self, *_token: Any) -> str:
        return "</table></div>\n"


def html_of(markdown: str, *, heading_offset: int) -> Markup:
    """Adds `heading_offset` to the level of each heading, shows HTML as text, and makes no links or images."""
    parser = (
        MarkdownIt("commonmark", {"html": False}, renderer_cls=PartOfPage)
        .enable("table")
        .disable(["image", "link", "autolink"])
    )
    environment: MutableMapping[str, Any] = {HEADING_OFFSET: heading_offset}
    return Markup(parser.render(markdown, environment))


def _level(tag: str, environment: MutableMapping[str, Any]) -> int:
    heading_offset: int = environment[HEADING_OFFSET]
    return min(int(tag[1]) + heading_offset, LOWEST_HEADING)
