"""Markdown that a page shows inside itself: the card of a model, and documents that the package carries along."""

from collections.abc import MutableMapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

LOWEST_HEADING = 6
DEEPER = "deeper"


class PartOfPage(RendererHTML):
    """Puts headings below the page's own, and makes wide tables scroll, also with the keyboard."""

    def heading_open(self, tokens: Sequence[Token], index: int, _options: Any, environment: Any) -> str:
        return f"<h{_level(tokens[index].tag, environment)}>"

    def heading_close(self, tokens: Sequence[Token], index: int, _options: Any, environment: Any) -> str:
        return f"</h{_level(tokens[index].tag, environment)}>\n"

    def table_open(self, *_token: Any) -> str:
        return '<div class="scroll" role="region" aria-label="Table" tabindex="0"><table class="data">\n'

    def table_close(self, *_token: Any) -> str:
        return "</table></div>\n"


def html_of(markdown: str, *, deeper: int) -> Markup:
    """With headings so many levels deeper. Shows HTML as text, and makes no links or images."""
    parser = (
        MarkdownIt("commonmark", {"html": False}, renderer_cls=PartOfPage)
        .enable("table")
        .disable(["image", "link", "autolink"])
    )
    environment: MutableMapping[str, Any] = {DEEPER: deeper}
    return Markup(parser.render(markdown, environment))


def _level(tag: str, environment: MutableMapping[str, Any]) -> int:
    deeper: int = environment[DEEPER]
    return min(int(tag[1]) + deeper, LOWEST_HEADING)
