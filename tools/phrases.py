"""``python -m tools.phrases``: prints every sentence of the interface, by file, to be read for its language.

Takes the text of the templates, the strings of the scripts, the strings of the Python code that people can see (help,
descriptions, errors and their remedies), and the docstrings of commands and endpoints.
"""

import ast
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("service", "models_store", "client/dermatriage_client", "workers/pipeline")
MIN_WORDS = 3
BLOCKS = "p|li|h1|h2|h3|th|td|dt|dd|label|option|button|summary|caption|figcaption|legend|title|div|section|span|a"
JINJA = re.compile(r"{#.*?#}|{%.*?%}", re.DOTALL)
QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')
COMMENT = re.compile(r"^\s*(?://|\*|/\*).*$", re.MULTILINE)


def phrases() -> dict[Path, list[str]]:
    """The sentences of each file, in its order, each once."""
    readers = {".py": of_python, ".html": of_template, ".js": of_script, ".j2": of_template}
    found = {
        path.relative_to(ROOT): list(dict.fromkeys(filter(_is_phrase, readers[path.suffix](path.read_text()))))
        for folder in FOLDERS
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in readers
    }
    return {path: sentences for path, sentences in found.items() if sentences}


def of_python(source: str) -> Iterator[str]:
    """Strings outside docstrings, and the docstrings of commands and endpoints."""
    tree = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_shown(node):
            yield _one_line(ast.get_docstring(node) or "")
        elif isinstance(node, ast.Constant | ast.JoinedStr) and id(node) not in docstrings | inner:
            yield _one_line(_text(node))


def of_template(source: str) -> Iterator[str]:
    """The text between block elements, with `…` for what the code fills in, and the attributes that are read aloud."""
    text = re.sub(r"<(script|style)\b.*?</\1>", "", JINJA.sub("", source), flags=re.DOTALL)
    filled = re.sub(r"{{.*?}}", lambda value: _literals(value[0]) or "…", text, flags=re.DOTALL)
    for attribute in re.findall(r'(?:aria-label|title|alt|placeholder)="([^"]+)"', filled):
        yield _one_line(attribute)
    for part in re.split(rf"</?(?:{BLOCKS})\b[^>]*>|\n\n", filled):
        yield _one_line(unescape(re.sub(r"<[^>]+>", "", part)))


def of_script(source: str) -> Iterator[str]:
    for quoted, template in QUOTED.findall(COMMENT.sub("", source)):
        yield _one_line(re.sub(r"\$\{.*?\}", "…", quoted or template))


def _is_shown(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether people read its docstring: that of an endpoint, or of a command, which has options with a help."""
    options = ast.unparse(function.args)
    return (
        any("router." in ast.unparse(it) for it in function.decorator_list) or "AsJson" in options or "Url" in options
    )


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


def _literals(expression: str) -> str:
    return " ".join(re.findall(r'"([^"]*)"', expression))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _is_phrase(text: str) -> bool:
    return len(re.findall(r"[A-Za-z]{2,}", text)) >= MIN_WORDS and " " in text and "{" not in text


def main() -> None:
    for path, sentences in phrases().items():
        print(f"\n== {path}")
        for sentence in sentences:
            print(sentence)


if __name__ == "__main__":
    main()
