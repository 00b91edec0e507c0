"""HTML for reports: one self-contained page, light and dark, readable on a phone, without a script.

Pages are well-formed XML too, so that a test can parse them. Equal arguments give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from simulations.report.canvas import DARK_STYLE

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #22303c; --soft: #5a6875; --line: #dde3e8; --paper: #f6f8f9; --card: #ffffff;
  --good: #dff1e4; --warm: #fbeecb; --link: #0b62a5; }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1180px;
  margin: 0 auto; padding: 1.2rem .8rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .2rem 0; } h2 { font-size: 1.25rem; margin: 2.6rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; } p, li { max-width: 74ch; } a { color: var(--link); }
.soft, figcaption { color: var(--soft); font-size: .88rem; }
p.above { margin: 1rem 0 -.2rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; list-style: none; font-size: .92rem; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  margin: .6rem 0; }
table { border-collapse: separate; border-spacing: 0; font-size: .86rem; width: 100%; }
th, td { padding: .32rem .55rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
tr:last-child > * { border-bottom: 0; } thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { position: sticky; left: 0; background: var(--card); font-weight: 600; white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } td.n { white-space: nowrap; }
td:not(.n) { min-width: 8rem; }
td small { display: block; color: var(--soft); font-size: .82em; } td.good { background: var(--good); }
td.warm { background: var(--warm); } td.faint { color: var(--soft); } td.strong { font-weight: 700; }
dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: .25rem 1rem; margin: .6rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: .8rem; }
.charts.small { grid-template-columns: repeat(auto-fill, minmax(min(46%, 220px), 1fr)); gap: .5rem; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .5rem .4rem; }
figure svg { display: block; width: 100%; height: auto; max-width: 470px; margin: 0 auto; }
figcaption { padding: .2rem .5rem; } svg text { font-family: system-ui, sans-serif; }
.panel { display: grid; gap: .6rem; }
@media (min-width: 900px) { .panel { grid-template-columns: 440px 1fr; align-items: start; } }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: .5rem 0; list-style: none;
  font-size: .88rem; }
.key svg { width: 14px; height: 14px; vertical-align: -2px; margin-right: .3rem; }
"""
_DARK: Final = (
    ":root { --ink: #dfe5ea; --soft: #9aa6b1; --line: #2c343b; --paper: #0e1215; --card: #14181c; --good: #173a25; "
    "--warm: #40330f; --link: #7cc0f2; }"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: in it.
        below: a second, smaller line; empty for none.
        tone: a class: "good", "warm", "faint", "strong" or "".
        number: whether it stands to the right.
    """

    text: str
    below: str = ""
    tone: str = ""
    number: bool = True


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page.

    Args:
        title: of the page.
        parts: HTML of the body.
    """
    style = f"{_STYLE}@media (prefers-color-scheme: dark) {{ {_DARK} {DARK_STYLE} }}"
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def paragraph(text: str, *, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def heading(text: str, *, level: int = 2, anchor: str = "") -> str:
    """A heading."""
    mark = f' id="{escape(anchor)}"' if anchor else ""
    return f"<h{level}{mark}>{escape(text)}</h{level}>"


def bullets(items: Iterable[str]) -> str:
    """A list of plain texts; nothing for none."""
    rows = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>{rows}</ul>" if rows else ""


def pairs(rows: Iterable[tuple[str, str]]) -> str:
    """Terms and what they stand for."""
    return f"<dl>{''.join(f'<dt>{escape(term)}</dt><dd>{escape(text)}</dd>' for term, text in rows)}</dl>"


def table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[Cell]]], *, caption: str = "") -> str:
    """A table that scrolls sideways where it is too wide; its first column stays.

    Args:
        head: headings, that of the first column included.
        rows: name and cells.
        caption: above it.
    """
    lines = list(rows)
    right = [bool(lines) and lines[0][1][index].number for index in range(len(head) - 1)]
    heads = "".join(
        f'<th scope="col"{_class("n" if number else "")}>{escape(text)}</th>'
        for text, number in zip(head, (False, *right), strict=True)
    )
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(_cell(cell) for cell in cells)}</tr>' for name, cells in lines
    )
    # Not a caption element: that would be as wide as the table, and scroll with it.
    above = f'<p class="soft above">{escape(caption)}</p>' if caption else ""
    return f'{above}<div class="scroll"><table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'


def figure(svg: str, caption: str = "") -> str:
    """A chart with a caption below."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{svg}{below}</figure>"


def charts(figures: Iterable[str], *, small: bool = False) -> str:
    """Figures side by side, as many as there is room for."""
    return f'<div class="charts{" small" if small else ""}">{"".join(figures)}</div>'


def panel(main: str, others: str) -> str:
    """A figure, and beside it on a wide screen, else below it, what belongs to it."""
    return f'<div class="panel">{main}{others}</div>'


def key(entries: Iterable[tuple[str, str]]) -> str:
    """A legend for several charts: pairs of SVG of a mark, 14 pixels square around (7, 7), and text."""
    items = "".join(
        f'<li><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 14 14" aria-hidden="true">{mark}</svg>'
        f"{escape(text)}</li>"
        for mark, text in entries
    )
    return f'<ul class="key">{items}</ul>'


def contents(entries: Iterable[tuple[str, str]]) -> str:
    """Links within the page: pairs of anchor and text."""
    items = "".join(f'<li><a href="#{escape(anchor)}">{escape(text)}</a></li>' for anchor, text in entries)
    return f"<nav><ul>{items}</ul></nav>"


def _cell(cell: Cell) -> str:
    below = f"<small>{escape(cell.below)}</small>" if cell.below else ""
    names = " ".join(name for name in ("n" if cell.number else "", cell.tone) if name)
    return f"<td{_class(names)}>{escape(cell.text)}{below}</td>"


def _class(names: str) -> str:
    return f' class="{escape(names)}"' if names else ""
