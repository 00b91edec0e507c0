"""What the cascade decides, and how it explains it: example signs under all batteries, links and privacy switches.

The production policy runs with its built-in constants; the signs and what surrounds them are examples, stated in the
table. Nothing here is measured: the page is there to be read, so that no decision surprises.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Final

from phone.cascade.decision import CascadeMemory, CascadePolicy, Decision
from phone.cascade.inputs import CloudState, Conditions, NetworkKind, Recogniser, Signals, Thermal, Trouble
from phone.cascade.policies import for_every_recogniser, policy_named
from phone.cascade.privacy import CloudUse, PrivacyOptions, find_private
from shared.errors import StorageError, UsageError
from shared.link import DeliveryModel
from shared.models.estimate import Estimate
from shared.models.risk import RiskCertificate

CERTIFICATE: Final = RiskCertificate(threshold=0.9, alpha=0.05, delta=0.05, kept=1_500, errors=55, total=2_000)
"""An example: readings that are right with 90 % or more are certified."""
CLOUD_S: Final = 0.5
"""Assumed: half of the cloud's answers are computed in this time, queue included."""
CLOUD_LATE_S: Final = 1.0
"""Assumed: nine in ten."""
LIFE_S: Final = 8.0
"""Assumed: so long an answer is of use to somebody who walks past."""
ANSWER_BYTES: Final = 600
"""Assumed size of an answer on its way to the glasses."""
ROUND_TRIP_S: Final = 0.1
"""Assumed, of the glasses' link and of the phone's network."""
LOG_SPREAD: Final = 0.35
"""Assumed: times vary by a factor of 1.4 about the predicted ones."""
RECONNECT_S: Final = 15.0
"""Assumed: how long glasses out of reach stay away."""
BATTERIES: Final = (100, 20, 5)
PRIVACY: Final = {
    "never": (CloudUse.NEVER, False),
    "ask, consent not given": (CloudUse.ASK, False),
    "ask, consent given": (CloudUse.ASK, True),
    "allow": (CloudUse.ALLOW, False),
}


@dataclass(frozen=True, slots=True)
class Link:
    """How fast bytes move: between glasses and phone, and between phone and cloud.

    Attributes:
        name: for the table.
        bytes_per_s: of both.
        away: whether the glasses are out of reach.
        offline: whether the phone is.
    """

    name: str
    bytes_per_s: int
    away: bool = False
    offline: bool = False


LINKS: Final = (
    Link("100 kB/s", 100_000),
    Link("40 kB/s", 40_000),
    Link("5 kB/s", 5_000),
    Link("down: glasses away", 40_000, away=True),
    Link("down: phone offline", 40_000, offline=True),
)
_USUAL: Final = LINKS[1]

_SIGN: Final = Signals(
    recognition=0.99,
    script=1.0,
    language=0.99,
    translation=0.98,
    trouble=None,
    recogniser=Recogniser.SMALL,
    private=None,
    request_bytes=6_000,
    estimate=Estimate(right=0.97, helped=0.008, harmed=0.004),
)
SIGNS: Final[Mapping[str, Signals]] = {
    "sure": _SIGN,
    "doubtful": replace(
        _SIGN, recognition=0.90, translation=0.91, estimate=Estimate(right=0.82, helped=0.075, harmed=0.01)
    ),
    "unsure": replace(
        _SIGN, recognition=0.55, translation=0.80, estimate=Estimate(right=0.45, helped=0.26, harmed=0.02)
    ),
    "unreadable": replace(
        _SIGN,
        recognition=0.0,
        translation=0.0,
        trouble=Trouble.TOO_SMALL,
        estimate=Estimate(right=0.01, helped=0.003, harmed=0.0),
    ),
}
"""Examples; the estimates are of the size that the metamodel gives such signs."""


def conditions(link: Link, *, battery: int, privacy: str = "allow") -> Conditions:
    """A cellular network whose radio sleeps, by the link's rate and the delivery model of `shared.link`."""
    use, consent = PRIVACY[privacy]
    rate = DeliveryModel(0, link.bytes_per_s, ROUND_TRIP_S, 0.0, 0.0, LOG_SPREAD)
    # The whole reply is a fraction of the request; what it adds is within the round trip.
    asked = rate.predict(_SIGN.request_bytes)
    return Conditions(
        cloud=CloudState.READY,
        cloud_use=use,
        consent=consent,
        ledger_writable=True,
        budget_left_bytes=20_000_000,
        battery_percent=battery,
        charging=False,
        expected_seconds=CLOUD_S + asked.typical_s,
        life_left_seconds=LIFE_S,
        # Not quite the quantile of a sum: both late at once is taken for one in ten.
        late_seconds=CLOUD_LATE_S + asked.late_s,
        delivery_seconds=replace(rate, wait_s=RECONNECT_S if link.away else 0.0).predict(ANSWER_BYTES).typical_s,
        network=NetworkKind.NONE if link.offline else NetworkKind.CELLULAR,
        metered=True,
        thermal=Thermal.NORMAL,
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: under which circumstances what was decided."""

    circumstances: tuple[str, ...]
    decision: Decision


@dataclass(frozen=True, slots=True)
class Table:
    """Decisions about one sign, or under several circumstances.

    Attributes:
        title: of the table.
        head: names of the circumstances.
        rows: in order.
    """

    title: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]


def table_of_sign(name: str, policy: CascadePolicy) -> Table:
    """All batteries, links and privacy switches for one example sign; what is the same everywhere is one row."""
    signals = SIGNS[name]
    estimate = signals.estimate
    grids = {
        privacy: {
            (battery, link.name): decide(policy, signals, conditions(link, battery=battery, privacy=privacy))
            for battery in BATTERIES
            for link in LINKS
        }
        for privacy in PRIVACY
    }
    rows: list[Row] = []
    for privacy, grid in grids.items():
        alike = [other for other, its in grids.items() if its == grid]
        if privacy != alike[0]:
            continue
        rows += (
            Row(("; ".join(alike), "any" if battery is None else f"{battery} %", link), decision)
            for battery, link, decision in _merged(grid)
        )
    chances = "" if estimate is None else f": {estimate.right:.0%} right, asking helps {estimate.gain:.1%} of the time"
    return Table(f"A sign that is {name}{chances}", ("privacy", "battery", "link"), tuple(rows))


def _merged(grid: Mapping[tuple[int, str], Decision]) -> Iterator[tuple[int | None, str, Decision]]:
    """The cells of a grid; those equal over all batteries as one, and all of them as one where they are equal."""
    first = next(iter(grid.values()))
    if all(decision == first for decision in grid.values()):
        yield None, "any", first
        return
    same = {
        link: {decision for (_, other), decision in grid.items() if other == link}
        for link in dict.fromkeys(link for _, link in grid)
    }
    for (battery, link), decision in grid.items():
        if len(same[link]) > 1:
            yield battery, link, decision
    for link, decisions in same.items():
        if len(decisions) == 1:
            yield None, link, next(iter(decisions))


def other_circumstances(policy: CascadePolicy) -> Table:
    """What else decides: one thing after the other changed from a usual situation."""
    usual = conditions(_USUAL, battery=60)
    low = replace(usual, battery_percent=18)
    doubtful, unsure = SIGNS["doubtful"], SIGNS["unsure"]
    wearer = PrivacyOptions(names=("Guimarães",), keep_names=True)
    cases: list[tuple[str, str, Signals, Conditions, CascadeMemory]] = []

    def add(sign: str, what: str, signals: Signals, world: Conditions, memory: CascadeMemory | None = None) -> None:
        cases.append((sign, what, signals, world, memory or CascadeMemory()))

    def said(text: str) -> Signals:
        return replace(unsure, private=find_private(text, wearer))

    for what, changed in (
        ("battery 60 %, mobile radio asleep", usual),
        ("mobile radio awake, used a second ago", replace(usual, radio_open_seconds=10.6)),
        ("Wi-Fi", replace(usual, network=NetworkKind.WIFI, metered=False)),
        ("battery 18 %, mobile radio asleep", low),
        ("the same, and radio awake", replace(low, radio_open_seconds=10.6)),
        ("the same, and Wi-Fi", replace(low, network=NetworkKind.WIFI, metered=False)),
        ("the same, asleep, and charging", replace(low, charging=True)),
        ("the same, asleep, and gone in 1.5 s", replace(low, life_left_seconds=1.5)),
        ("18 %, saving since it was below 15 %", low),
    ):
        add("doubtful", what, doubtful, changed, CascadeMemory(saving="saving" in what))
    for what, changed in (
        ("a warm phone, battery 20 %", replace(usual, thermal=Thermal.WARM, battery_percent=20)),
        ("a hot phone", replace(usual, thermal=Thermal.HOT)),
        ("battery 4 %", replace(usual, battery_percent=4)),
        ("battery 4 %, charging", replace(usual, battery_percent=4, charging=True)),
        ("battery unknown", replace(usual, battery_percent=None)),
        ("a battery that says 250 %", replace(usual, battery_percent=250)),
        ("20 kB of today's budget left, mobile data", replace(usual, budget_left_bytes=20_000)),
        ("the same on Wi-Fi", replace(usual, budget_left_bytes=20_000, network=NetworkKind.WIFI, metered=False)),
        ("today's budget spent", replace(usual, budget_left_bytes=1_000)),
        ("a hotel's sign-in page", replace(usual, network=NetworkKind.CAPTIVE)),
        ("the cloud is down", replace(usual, cloud=CloudState.DOWN)),
        ("four calls under way", replace(usual, cloud=CloudState.BUSY)),
        ("the cloud takes 3 s, one in ten 8 s", replace(usual, expected_seconds=3.0, late_seconds=8.0)),
        ("the cloud takes 6 s, one in ten 20 s", replace(usual, expected_seconds=6.0, late_seconds=20.0)),
        ("the cloud's pace is not a number", replace(usual, expected_seconds=math.nan)),
        ("the ledger cannot be written", replace(usual, ledger_writable=False)),
    ):
        add("unsure", what, unsure, changed)
    for text in ("4111 1111 1111 1111", "maria@example.pt", "Guimaraes, 2º Esq", "Dra. Ana Costa", "Saída"):
        add("unsure", f"it says “{text}”", said(text), usual)
    add("unsure", "a whole frame, no line was cut out", replace(unsure, whole_frame=True), usual)
    add("unsure", "the cloud refused its direction", replace(unsure, direction_refused=True), usual)
    foreign = replace(
        unsure, recognition=0.1, script=0.1, translation=0.0, trouble=Trouble.SCRIPT, foreign_script="hangul",
        estimate=Estimate(right=0.01, helped=0.01, harmed=0.0),
    )  # fmt: skip
    add("Korean", "a script that the phone does not read", foreign, usual)
    add("Korean", "the cloud could not read it either", replace(foreign, direction_refused=True), usual)
    add("blurred", "the picture shows no script that the phone lacks", replace(foreign, foreign_script=None), usual)
    add("unsure", "the metamodel says nothing", replace(unsure, estimate=None), usual)
    add("unsure", "the metamodel says nan", replace(unsure, estimate=Estimate(math.nan, 0.9, 0.0)), usual)
    nothing = replace(unsure, estimate=None, recognition=math.nan)
    add("unsure", "neither it nor the recogniser says a number", nothing, usual)
    small = replace(doubtful, estimate=Estimate(right=0.80, helped=0.03, harmed=0.004))
    add("doubtful, little to gain", "Wi-Fi", small, replace(usual, network=NetworkKind.WIFI, metered=False))
    add("the same, a warning worth three", "Wi-Fi", replace(small, value=3.0), replace(usual, network=NetworkKind.WIFI))
    return Table(
        "Other circumstances",
        ("sign", "what is different"),
        tuple(
            Row((sign, what), decide(policy, signals, world, memory)) for sign, what, signals, world, memory in cases
        ),
    )


def decide(policy: CascadePolicy, signals: Signals, world: Conditions, memory: CascadeMemory | None = None) -> Decision:
    """One decision; without memory, as if it were the first."""
    return policy.decide(signals, world, memory or CascadeMemory())[0]


def tables_of(policy: CascadePolicy) -> list[Table]:
    """Every table."""
    return [*(table_of_sign(name, policy) for name in SIGNS), other_circumstances(policy)]


INTRODUCTION: Final = (
    f"The production policy on example signs, with an example of a certificate (at most {CERTIFICATE.alpha:.0%} of the "
    f"readings that are {CERTIFICATE.threshold:.0%} right or more are wrong). Assumed: a call of {_SIGN.request_bytes} "
    f"bytes over a metered mobile network whose radio sleeps; glasses' link and network both at the given rate; the "
    f"cloud needs {CLOUD_S} s, one answer in ten more than {CLOUD_LATE_S} s; an answer is of use for {LIFE_S:.0f} s; "
    f"glasses out of reach stay away for {RECONNECT_S:.0f} s. Gains and prices are signs right of a hundred such signs."
)


def as_markdown(tables: Sequence[Table]) -> str:
    """The tables as Markdown."""
    lines = ["# Decisions", "", INTRODUCTION, ""]
    for table in tables:
        lines += [f"## {table.title}", "", f"| {' | '.join((*table.head, 'decision', 'rule', 'because'))} |"]
        lines.append(f"|{'---|' * (len(table.head) + 3)}")
        lines += (f"| {' | '.join(cell.replace('|', '/') for cell in _cells(row))} |" for row in table.rows)
        lines.append("")
    return "\n".join(lines)


def as_html(tables: Sequence[Table]) -> str:
    """The tables as a page that needs nothing else."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Decisions</title><style>',
        "body{font:14px/1.45 system-ui,sans-serif;margin:2em;color:#222;max-width:1200px}",
        "table{border-collapse:collapse}",
        "td,th{border-bottom:1px solid #e4e4e4;padding:.2em .8em .2em 0;text-align:left;vertical-align:top}",
        "td{font-variant-numeric:tabular-nums}.escalate td{background:#e8f3ff}.hold td{background:#fff6dd}</style>",
        f"<h1>Decisions</h1><p>{escape(INTRODUCTION)}</p>",
    ]
    for table in tables:
        head = "".join(f"<th>{escape(name)}</th>" for name in (*table.head, "decision", "rule", "because"))
        parts.append(f"<h2>{escape(table.title)}</h2><table><tr>{head}</tr>")
        for row in table.rows:
            cells = "".join(f"<td>{escape(cell)}</td>" for cell in _cells(row))
            parts.append(f'<tr class="{row.decision.action.value}">{cells}</tr>')
        parts.append("</table>")
    return "\n".join([*parts, "</html>\n"])


def _cells(row: Row) -> tuple[str, ...]:
    decision = row.decision
    return (*row.circumstances, decision.action.value, decision.rule.value, decision.reason)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `decisions` to `wayword-sim bench`."""
    parser = subparsers.add_parser(
        "decisions", help="what the cascade decides for example signs, and why", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--out", type=Path, help="write the tables there, as .html or .md, instead of printing them")
    parser.set_defaults(body=run)


def run(args: argparse.Namespace) -> int:
    """Print the tables, or write them to a file.

    Raises:
        UsageError: the file is neither HTML nor Markdown.
        StorageError: it cannot be written.
    """
    tables = tables_of(policy_named("cascade", certificates=for_every_recogniser(CERTIFICATE)))
    if args.out is None:
        print(as_markdown(tables))
        return 0
    writers = {".html": as_html, ".md": as_markdown}
    if (writer := writers.get(args.out.suffix)) is None:
        raise UsageError(f"cannot write {args.out.name}", hint="choose a name that ends in .html or .md")
    try:
        args.out.write_text(writer(tables), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"cannot write {args.out}: {error.strerror}") from error
    print(f"{sum(len(table.rows) for table in tables)} rows in {args.out}")
    return 0
