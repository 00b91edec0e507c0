"""The report of a sweep: one self-contained page made from `results.json` alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from simulations.report.markup import bullets, charts, contents, document, heading, pairs, paragraph
from simulations.sweep.document import HYBRID, Sweep, parse_sweep
from simulations.sweep.measures import DESIGN_TITLES, DESIGN_WORDS, GLASSES_HOURS, PHONE_HOURS, QUALITY, Measure
from simulations.sweep.page_plots import battery_charts, curve_chart, policy_chart, title_of, tradeoffs
from simulations.sweep.page_sensitivity import section as sensitivity_section
from simulations.sweep.page_sensitivity import widest_table
from simulations.sweep.page_tables import (
    design_tables,
    device_tables,
    leader_table,
    parts_tables,
    runs_table,
    samples_of,
)
from simulations.sweep.summary import AGREE, USEFUL, Slice

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
    titles = {design: DESIGN_TITLES.get(design, design) for design in sweep.run.designs}
    sweep = replace(sweep, run=replace(sweep.run, titles={**titles, **sweep.run.titles}))
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


def _subtitle(of: Slice) -> str:
    run = of.sweep.run
    return (
        f"{_many(len(run.designs), 'design')} in simulated days of a traveller in {_cities(run.cities)}, on "
        f"{_many(len(run.networks), 'network')}, with the product's own policy, queues and link code under virtual time "
        "and its models replaced by what they did on labelled signs."
    )


def _short(of: Slice) -> str:
    return (
        paragraph(
            "Who has the best figure on each network (median of the samples), and which designs are level with it: not "
            f"behind in at least {100 * AGREE:.0f} % of the samples. Designs that get fewer than {100 * USEFUL:.0f} % as "
            "many signs right as the best one do not compete: doing nothing costs nothing."
        )
        + leader_table(of)
        + bullets(_headlines(of))
    )


def _headlines(of: Slice) -> list[str]:
    """The hybrid against the next best and against video, in words."""
    sweep = of.sweep
    lines = []
    rival = of.next_best(sweep.run.designs)
    mine = of.spread(HYBRID, QUALITY)
    if rival is not None and mine is not None:
        differences = [100 * difference for _, difference in of.paired(HYBRID, rival, QUALITY)]
        if differences:
            ordered = sorted(differences)
            middle = ordered[len(ordered) // 2]
            lines.append(
                f"On network {of.network} the hybrid has {100 * mine.middle:.1f} % of the signs right while in view, "
                f"{middle:+.1f} points from {title_of(sweep, rival)}, the best of the other designs (median of "
                f"{len(differences)} samples; {ordered[0]:+.1f} to {ordered[-1]:+.1f})."
            )
    shares = []
    for network in sweep.run.networks:
        mine_bytes = of.spread(HYBRID, _UP, network=network)
        video = of.spread("cloud-video", _UP, network=network)
        if mine_bytes is not None and video is not None and video.middle > 0:
            shares.append(f"{100 * mine_bytes.middle / video.middle:.2g} % ({network})")
    if shares:
        lines.append(f"Bytes that leave the phone, hybrid as a share of the video design: {', '.join(shares)}.")
    return lines


def _run(of: Slice) -> str:
    run, traces = of.sweep.run, of.sweep.traces
    rows = [
        *((title_of(of.sweep, design), DESIGN_WORDS.get(design, "")) for design in run.designs),
        ("networks", _listed(run.networks) + _day_words(run.networks)),
        ("link", f"glasses to phone: {_listed(run.links)}" if run.links else "as the product has it"),
        ("phones", _listed(run.phones)),
        ("glasses", _listed(run.glasses)),
        ("cities", _cities(run.cities)),
        ("policies", f"of the hybrid: {_listed(run.policies)}" if run.policies else "the product's"),
        ("length", f"{run.days:g} simulated {'day' if run.days == 1 else 'days'} a run"),
        (
            "samples",
            f"{run.samples} sets of the {len(of.sweep.constants)} constants of energy, network and wearer, drawn from "
            "their ranges; every design meets the same sets",
        ),
        ("seed", f"{run.seed}; the same seed gives the same bytes"),
        ("runs", f"{len(of.sweep.runs)}"),
        (
            "signs",
            f"{traces.looks} looks at {traces.signs} signs"
            + (f" of {traces.phrases} phrases" if traces.phrases else "")
            + f"; by part: {_counted(traces.parts)}; by language: {_counted(traces.languages)}; by light: "
            f"{_counted(traces.lights)}",
        ),
        ("milliseconds", f"of one core of: {traces.machine or 'a machine that is not named'}"),
        ("packs", ", ".join(f"{name} {version}" for name, version in traces.packs.items()) or "not recorded"),
        ("command", run.command or "not recorded"),
    ]
    if run.recogniser:
        rows.insert(len(run.designs) + 6, ("recogniser", f"the phone's: {run.recogniser}"))
    if traces.sha256:
        rows.append(("traces", f"sha256 {traces.sha256}"))
    return pairs(rows) + bullets(run.notes)


def _designs(of: Slice) -> str:
    return (
        paragraph(
            f"Medians of the samples, and below them the range of eight samples in ten. {of.phone}, {of.glasses}, "
            f"{of.city}"
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
        "where the cloud always answers in time. The signs had no part in training the metamodel. The oracle knows both "
        "answers and escalates where the cloud's is better."
    )
    if not figures and not policies:
        return paragraph(
            "These results hold no cascade curves: the traces have no test or photo part to draw them from."
        )
    return (text if figures else "") + charts([*figures, *([policies] if policies else [])])


def _battery(of: Slice) -> str:
    hours = paragraph(
        "Hours of wearing and carrying until the battery is at its reserve, at the mean rate of the time awake. Whiskers: "
        "eight in ten samples. The phone also pays for the wearer's other use of it."
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
    traces = of.sweep.traces
    samples = samples_of(of)
    lines = [
        "Nothing here was measured on glasses or phones. Energy is a model: time of the traces, scaled by a device's "
        "speed, times a power from literature or an assumption; the page is as good as those constants.",
        "The wearer is an assumption too: how many signs come into view, how long they stay, and how often they are seen "
        "again scale bytes and energy of all designs alike, and shift the balance between idle and active power.",
        "A sign of the simulated city is a look of the traces in the same language, and in the same light where there is "
        f"one. With {traces.signs} signs the same looks come again and again: the ranges say nothing about other signs.",
        "Ranges are those of the constants, not confidence intervals of the product: a constant outside its range, or "
        "one that is missing from the model, is not in them.",
        "Designs that send pictures to the cloud are judged by the same cloud reading of the same strip; what video "
        "could gain from several frames is not modelled.",
        "“Private” is what the product's own rules take for private; a text they overlook is counted by nobody.",
    ]
    if samples < FEW_SAMPLES:
        lines.insert(
            0, f"Only {samples} samples were drawn: a range of eight in ten is then little more than both ends."
        )
    used = [part for part in ("train", "calibration") if traces.parts.get(part)]
    if used:
        lines.append(
            f"The replayed looks include those of part {' and '.join(used)}, on which the metamodel was fitted or "
            "calibrated: there it does better than on new signs. The cascade curves leave them out."
        )
    return bullets(lines) + widest_table(of.sweep)


_HOURS: Final = (GLASSES_HOURS, PHONE_HOURS)
_UP: Final = Measure(("bytes_out",), "", "", "B", False)


def _day_words(networks: Sequence[str]) -> str:
    return " (“day” follows the traveller: hotel and cafe Wi-Fi, street, metro)" if "day" in networks else ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _cities(names: Iterable[str]) -> str:
    return _listed(name.title() for name in names)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "not recorded"


def _many(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
