"""The report of a sweep: one self-contained page made from `results.json` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from shared.errors import StorageError
from simulations.report.markup import bullets, charts, contents, document, heading, pairs, paragraph
from simulations.sweep.arms import OF_DAY
from simulations.sweep.document import HYBRID, VIDEO, Sweep, parse_sweep
from simulations.sweep.measures import DESIGN_WORDS, GLASSES_HOURS, PHONE_HOURS, QUALITY, Measure
from simulations.sweep.page_plots import battery_charts, curve_chart, policy_chart, title_of, tradeoffs
from simulations.sweep.page_sensitivity import section as sensitivity_section
from simulations.sweep.page_sensitivity import widest_table
from simulations.sweep.page_tables import (
    design_tables,
    device_tables,
    leader_table,
    parts_tables,
    refusals,
    runs_table,
    samples_of,
)
from simulations.sweep.results import rounded
from simulations.sweep.summary import AGREE, USEFUL, Slice

PAGE_NAME: Final = "report.html"
TITLE: Final = "Wayword: which tier should do what"
_SECTIONS: Final = (
    ("short", "In short"),
    ("run", "What was run"),
    ("designs", "The designs"),
    ("tradeoffs", "What quality costs"),
    ("cascade", "Cascade curves"),
    ("battery", "Battery"),
    ("sensitivity", "What matters"),
    ("care", "Read with care"),
)
FEW_SAMPLES: Final = 10
"""With fewer, a range of eight in ten is little more than the two ends."""


def sweep_page(results: Sweep | Mapping[str, Any]) -> str:
    """The whole page. Equal results give equal bytes.

    Args:
        results: of a sweep, as types or as `json.loads` gives them.

    Raises:
        InputError: they are no results of a sweep.
    """
    sweep = results if isinstance(results, Sweep) else parse_sweep(results)
    of = Slice(sweep)
    bodies = (
        _short(of),
        _run(of),
        _designs(of),
        tradeoffs(of),
        _cascade(of),
        _battery(of),
        _sensitivity(of),
        _care(of),
    )
    parts = [
        f"<h1>{TITLE}</h1>",
        paragraph(_subtitle(of), kind="soft"),
        contents(_SECTIONS),
        *(
            f"<section>{heading(name, anchor=anchor)}{body}</section>"
            for (anchor, name), body in zip(_SECTIONS, bodies, strict=True)
        ),
    ]
    return document(TITLE, parts)


def write_page(folder: Path, results: Sweep | Mapping[str, Any]) -> Path:
    """Write `report.html`, whole or not at all; the page is the one that the written `results.json` gives, too.

    Args:
        folder: made where there is none.
        results: of a sweep; a document may be rounded or not.

    Raises:
        InputError: they are no results of a sweep.
        StorageError: it cannot be written.
    """
    path, temporary = folder / PAGE_NAME, folder / f"{PAGE_NAME}.part"
    page = sweep_page(results if isinstance(results, Sweep) else rounded(results))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error
    return path


def _subtitle(of: Slice) -> str:
    return (
        f"{_many(len(of.designs), 'design')} in simulated days of a traveller in {_cities(of.sweep.names('city'))}, on "
        f"{_many(len(of.networks), 'network')}, with the product's own policy, queues and link code under virtual time "
        "and its models replaced by what they did on labelled signs."
    )


def _short(of: Slice) -> str:
    return (
        paragraph(
            "Who has the best figure on each network (median of the samples), and which designs are level with it: not "
            f"behind in at least {100 * AGREE:.0f} % of the samples. Designs that get fewer than {100 * USEFUL:.0f} % "
            "as many signs right as the best one do not compete: doing nothing costs nothing."
        )
        + leader_table(of)
        + bullets(_headlines(of))
    )


def _headlines(of: Slice) -> list[str]:
    """The hybrid against the next best and against video, in words."""
    lines = []
    rival = of.next_best()
    mine = of.spread(HYBRID, QUALITY)
    if rival is not None and mine is not None:
        differences = [100 * difference for _, difference in of.paired(HYBRID, rival, QUALITY)]
        if differences:
            lines.append(
                f"On network {of.network} the hybrid has {100 * mine.middle:.1f} % of the signs right while in view, "
                f"{median(differences):+.1f} points from {title_of(rival)}, the best of the other designs (median of "
                f"{len(differences)} samples; {min(differences):+.1f} to {max(differences):+.1f})."
            )
    shares = []
    for network in of.networks:
        mine_bytes = of.spread(HYBRID, _UP, network=network)
        video = of.spread(VIDEO, _UP, network=network)
        if mine_bytes is not None and video is not None and video.middle > 0:
            shares.append(f"{100 * mine_bytes.middle / video.middle:.2g} % ({network})")
    if shares:
        lines.append(f"Bytes that leave the phone, hybrid as a share of the video design: {', '.join(shares)}.")
    return lines


def _run(of: Slice) -> str:
    sweep, traces = of.sweep, of.sweep.traces
    policies, arm = sweep.names("policy"), sweep.runs[0].arm
    rows = [
        *((title_of(design), DESIGN_WORDS.get(design, "")) for design in of.designs),
        ("networks", _listed(of.networks) + _day_words(of.networks)),
        ("link", f"{arm.link or 'the usual one'}, between glasses and phone"),
        ("phones", _listed(sweep.names("phone"))),
        ("glasses", _listed(sweep.names("glasses"))),
        ("cities", _cities(sweep.names("city"))),
        ("policies", f"{_listed(policies)}, of the hybrid" if policies else "none: no design has one"),
        ("privacy", f"{arm.privacy or 'allow'}: the wearer's switch for the cloud"),
        (
            "recogniser",
            f"{arm.recogniser or 'auto'}: the phone's setting; auto is the small one while the battery lasts",
        ),
        ("length", f"{_many(sweep.days, 'simulated day')} a run" + _hours_words(sweep.hours)),
        ("samples", _samples_words(of)),
        ("seed", f"{sweep.seed}; the same seed, traces and options give the same bytes"),
        (
            "runs",
            f"{len(sweep.runs)}" + (f", and {len(sweep.swings)} with one constant changed" if sweep.swings else ""),
        ),
        ("signs", _signs_words(sweep)),
        ("milliseconds", f"of one thread of: {traces.machine or 'a machine that is not named'}"),
        ("packs", ", ".join(f"{name} {version}" for name, version in sorted(traces.packs.items())) or "not recorded"),
        (
            "traces",
            f"{traces.command or 'not recorded how made'}; seed {traces.seed}, digest {traces.digest or 'none'}",
        ),
    ]
    refused = refusals(of)
    return pairs(rows) + (paragraph("What cannot be run:") + bullets(refused) if refused else "")


def _designs(of: Slice) -> str:
    return (
        paragraph(
            f"Medians of the samples, and below them the range of eight samples in ten. {of.phone}, {of.glasses}, "
            f"{of.city.title()}"
            + (f", policy {of.policy}" if of.policy else "")
            + ". Green: ahead, or level with who is ahead."
        )
        + design_tables(of)
        + heading("Where the energy goes", level=3)
        + paragraph(f"Network: {of.network}.", kind="soft")
        + parts_tables(of)
    )


def _cascade(of: Slice) -> str:
    figures = [curve_chart(group) for group in of.sweep.cascade]
    policies = policy_chart(of)
    text = paragraph(
        "How many looks are right when a share of them is escalated, in the order of each score: on the traces alone, "
        "where the cloud always answers in time. The signs had no part in training the metamodel. The oracle knows "
        "both answers and escalates where the cloud's is better."
    )
    if not figures and not policies:
        return paragraph(
            "These results hold no cascade curves: the traces have no test or photo part to draw them from."
        )
    return (text if figures else "") + charts([*figures, *([policies] if policies else [])])


def _battery(of: Slice) -> str:
    hours = paragraph(
        "Hours of wearing and carrying until the battery is at its reserve, at the mean rate of the time awake. "
        "Whiskers: eight in ten samples. The phone also pays for the wearer's other use of it."
    )
    runs = runs_table(of)
    return (
        hours
        + battery_charts(of, _HOURS)
        + device_tables(of)
        + (heading("OCR runs per charge", level=3) + runs if runs else "")
    )


def _sensitivity(of: Slice) -> str:
    return paragraph(
        f"Network {of.network}, {of.phone}, {of.glasses}, {of.city.title()}.", kind="soft"
    ) + sensitivity_section(of)


def _care(of: Slice) -> str:
    samples = samples_of(of)
    lines = [
        "Nothing here was measured on glasses or phones. Energy is a model: time of the traces, scaled by a device's "
        "speed, times a power from literature or an assumption; the page is as good as those constants.",
        "The wearer is an assumption too: how many signs come into view, how long they stay, and how often they are "
        "seen again scale bytes and energy of all designs alike, and shift the balance between idle and active power.",
        "A sign of the simulated city is a look of the traces in the same language, and in the same light where there "
        f"is one. With {of.sweep.traces.signs} looks the same ones come again and again: the ranges say nothing about "
        "other signs.",
        "Ranges are those of the constants, not confidence intervals of the product: a constant outside its range, or "
        "one that is missing from the model, is not in them.",
        "Designs that send pictures to the cloud are judged by the same cloud reading of the same strip; what video "
        "could gain from several frames is not modelled.",
        "The video design does not lower its rate: a network slower than the stream carries nothing of it. Glasses do "
        "not know the phone's network, so where there is none they film, encode and send all the same.",
        "“Private” is what the product's own rules take for private; a text they overlook is counted by nobody.",
    ]
    if samples < FEW_SAMPLES:
        lines.insert(
            0, f"Only {samples} samples were drawn: a range of eight in ten is then little more than both ends."
        )
    return bullets(lines) + widest_table(of)


_HOURS: Final = (GLASSES_HOURS, PHONE_HOURS)
_UP: Final = Measure(("bytes_out",), "", "", "B", False)


def _samples_words(of: Slice) -> str:
    sweep = of.sweep
    count = len(sweep.constants[0]) if sweep.constants else 0
    if not sweep.samples:
        return (
            f"none: all {count} constants of energy, network and wearer at their nominal values, so no ranges are shown"
        )
    return (
        f"{sweep.samples} sets of the {count} constants of energy, network and wearer, drawn from their ranges, beside "
        "the nominal one; every design meets the same sets"
    )


def _signs_words(sweep: Sweep) -> str:
    text = _many(sweep.traces.signs, "look")
    counts = sweep.counts
    if counts is None:
        return text
    return (
        f"{text} at {_many(counts.signs, 'sign')} of {_many(counts.phrases, 'phrase')}; by language: "
        f"{_counted(counts.languages)}; by light: {_counted(counts.lights)}"
    )


def _hours_words(hours: float | None) -> str:
    return "" if hours is None else f", of it the first {hours:g} hours that the glasses are worn"


def _day_words(networks: Sequence[str]) -> str:
    return " (“day” follows the traveller: hotel and cafe Wi-Fi, street, metro)" if OF_DAY in networks else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _cities(names: Iterable[str]) -> str:
    return _listed(name.title() for name in names)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "not recorded"


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
