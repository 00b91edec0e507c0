"""What a trace file holds, as a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from simulations.report import percentile
from simulations.traces.records import SignTrace, TraceHeader

_GROUPS: Final[Mapping[str, Callable[[SignTrace], str]]] = {
    "part": lambda sign: sign.part.value,
    "language": lambda sign: sign.language,
    "light": lambda sign: sign.view.light,
    "source": lambda sign: sign.source if "+" not in sign.source else "of several kinds",
}


def table(header: TraceHeader, signs: Sequence[SignTrace]) -> list[str]:
    """Counts by part, language and light, as Markdown, after what the file says about itself."""
    names = sorted({name for sign in signs for name in sign.local})
    columns = ["looks", "signs"]
    columns += [f"{name} {what}" for name in names for what in ("text", "right", "helped", "harmed")]
    columns += ["cloud text", "cloud right"]
    rows = [
        f"seed {header.seed}; {header.machine}",
        f"made by: {header.command}",
        "packs: " + ", ".join(f"{name} {version}" for name, version in sorted(header.packs.items())),
        *([header.notes] if header.notes else []),
        "",
        "| | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for title, key in _GROUPS.items():
        groups: dict[str, list[SignTrace]] = defaultdict(list)
        for sign in signs:
            groups[key(sign)].append(sign)
        rows += [_row(f"{title} {name}", group, names) for name, group in sorted(groups.items())]
    rows.append(_row("all", signs, names))
    sizes = {"strip": [sign.strip_bytes for sign in signs], "still": [sign.still_bytes or 0 for sign in signs]}
    rows += [
        "",
        "Bytes, p10 / p50 / p90: " + "; ".join(f"{name} {_spread(of)}" for name, of in sizes.items() if any(of)),
    ]
    return rows


def _spread(values: Sequence[int]) -> str:
    return " / ".join(f"{percentile(values, share):.0f}" for share in (10, 50, 90))


def _row(title: str, signs: Sequence[SignTrace], names: Sequence[str]) -> str:
    cells = [str(len(signs)), str(len({sign.sign for sign in signs}))]
    for name in names:
        known = [sign for sign in signs if name in sign.local]
        right = [sign.local[name].right for sign in known]
        final = [sign.final_right(name) for sign in known]
        cells += [
            str(sum(sign.local[name].text_right for sign in known)),
            str(sum(right)),
            str(sum(after and not before for before, after in zip(right, final, strict=True))),
            str(sum(before and not after for before, after in zip(right, final, strict=True))),
        ]
    cells += [str(sum(sign.cloud.text_right for sign in signs)), str(sum(sign.cloud.right for sign in signs))]
    return f"| {title} | " + " | ".join(cells) + " |"
