"""The page at /docs: the OpenAPI document as a person reads it. No script, nothing from elsewhere, no cookie."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; } h2 code { font-size: 1.1rem; }
pre, code { font-family: ui-monospace, monospace; font-size: 0.9rem; }
pre { padding: 0.8rem; overflow-x: auto; background: rgb(128 128 128 / 0.12); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem; border-bottom: 1px solid gray; }
.method { text-transform: uppercase; }
"""


def documentation(document: Mapping[str, Any]) -> str:
    """An HTML page.

    Args:
        document: OpenAPI 3.1, as FastAPI makes it. Every string of it is escaped.
    """
    info = document["info"]
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">',
            f"<title>{_text(info['title'])}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{_text(info['title'])}</h1>",
            *_paragraphs(info.get("description", "")),
            '<p>For programs: <a href="openapi.json">openapi.json</a></p>',
            *(
                line
                for path, methods in document["paths"].items()
                for method, operation in methods.items()
                for line in _operation(path, method, operation)
            ),
            "<h1>Objects</h1>",
            *(
                line
                for name, schema in document.get("components", {}).get("schemas", {}).items()
                for line in _schema(name, schema)
            ),
            "</body></html>",
        )
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f'<h2><code><span class="method">{_text(method)}</span> {_text(path)}</code></h2>'
    yield from _paragraphs(operation.get("description") or operation.get("summary", ""))
    if parameters := operation.get("parameters"):
        yield "<table><tr><th>parameter</th><th>in</th><th>what it is</th></tr>"
        for item in parameters:
            needed = " (needed)" if item.get("required") else ""
            yield (
                f"<tr><td><code>{_text(item['name'])}</code></td><td>{_text(item['in'])}</td>"
                f"<td>{_text(item.get('description', ''))}{needed}</td></tr>"
            )
        yield "</table>"
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body <code>{_text(kind)}</code>: {_type(content.get('schema', {}))}</p>"
        if "example" in content:
            yield f"<pre>{_text(json.dumps(content['example'], indent=2, ensure_ascii=False))}</pre>"
    yield "<table><tr><th>status</th><th>meaning</th><th>body</th></tr>"
    for status, answer in operation["responses"].items():
        bodies = ", ".join(_type(content.get("schema", {})) for content in answer.get("content", {}).values())
        yield f"<tr><td>{_text(status)}</td><td>{_text(answer.get('description', ''))}</td><td>{bodies}</td></tr>"
    yield "</table>"


def _schema(name: str, schema: Mapping[str, Any]) -> Iterator[str]:
    yield f'<h2 id="{_text(name)}"><code>{_text(name)}</code></h2>'
    yield from _paragraphs(schema.get("description", ""))
    if not (properties := schema.get("properties")):
        return
    needed = schema.get("required", [])
    yield "<table><tr><th>field</th><th>type</th><th>what it is</th><th>example</th></tr>"
    for field, about in properties.items():
        example = about["examples"][0] if about.get("examples") else about.get("default")
        shown = "" if example is None else f"<code>{_text(json.dumps(example, ensure_ascii=False))}</code>"
        yield (
            f"<tr><td><code>{_text(field)}</code>{' (needed)' if field in needed else ''}</td><td>{_type(about)}</td>"
            f"<td>{_text(about.get('description', ''))}</td><td>{shown}</td></tr>"
        )
    yield "</table>"


def _type(schema: Mapping[str, Any]) -> str:
    """A type in a few words, with links to objects of the page."""
    if reference := schema.get("$ref"):
        name = _text(str(reference).rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(choice) for choice in choices)
    if words := schema.get("enum"):
        return " | ".join(f"<code>{_text(word)}</code>" for word in words)
    kind = str(schema.get("type", "object"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return _text(schema.get("format") or schema.get("contentMediaType") or kind)


def _paragraphs(text: str) -> Iterator[str]:
    for block in text.strip().split("\n\n"):
        if block.startswith("    "):
            yield f"<pre>{_text(block)}</pre>"
        elif block:
            yield f"<p>{_text(block)}</p>"


def _text(value: object) -> str:
    return html.escape(str(value))
