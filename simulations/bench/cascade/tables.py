"""The figures of the bench as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from simulations.bench.cascade.certificate import DELTA, SplitFigures, TriedFigures
from simulations.bench.cascade.choosing import Setting, best
from simulations.bench.cascade.curves import CONFIDENCE, ORACLE, Interval, RankingFigures
from simulations.bench.cascade.judging import Judged, Trust
from simulations.bench.cascade.looks import GAIN, PLAIN
from simulations.bench.cascade.routing import LENGTH, Routed
from simulations.bench.cascade.study import CASCADE, TARGET_BEHIND, TARGET_SHARE, Group, Promise, meets_target

METHOD: Final = (
    f"Every look at a sign counts. Brackets are {CONFIDENCE:.0%} percentile intervals of a bootstrap over phrases: all "
    "looks at all signs of a phrase are drawn together, for they are right and wrong together, and so are phrases that "
    "stand on one sign. A sign is right when its text and its translation are. After asking, the cloud's answer counts "
    "where it would replace the phone's (`phone.readings.is_better`), else the phone's stays; \"cloud answer taken "
    'always" drops that rule.'
)
PROMISE: Final = (
    f"The certificate promises: with probability {1 - DELTA:.0%} at most the share alpha of what it keeps is wrong. "
    "Splits are by phrase, of the parts calibration and test together: certified on one half, counted on the "
    "other. The other half is a sample too, so its error rate passes alpha by chance more often than the promise is "
    'broken; "promise broken" draws samples anew from all phrases, whose error rate is known exactly, and is the '
    "figure that must not exceed delta. Where no threshold passes nothing is kept: the promise is kept then, and says "
    "nothing. The metamodel itself was trained on the train part, in every language and "
    "light: the shifts below are those of the certificate alone."
)


def group_tables(groups: Sequence[Group]) -> list[str]:
    """Arms, curves and targets of every group."""
    rows = ["## Cascade", "", METHOD]
    for group in groups:
        rows += ["", f"### {title(group)}", ""]
        rows += ["| decided by | escalated | signs right | points to cloud-only |", "|---|---|---|---|"]
        rows += [
            f"| {name} | {percent(arm.share)} | {percent(arm.quality)} | {points(arm.behind_cloud)} |"
            for name, arm in group.arms.items()
        ]
        rows += ["", *ranking_rows(group.rankings, PLAIN, "points to cloud-only there")]
    return [*rows, "", *target_rows(groups), "", *stage_rows(groups)]


def title(group: Group) -> str:
    """What a group is, with its numbers."""
    return (
        f"{group.part}, {group.recogniser} recogniser: {group.looks} looks at {group.signs} signs of {group.phrases} "
        f"phrases, {group.private} of them private"
    )


def ranking_rows(rankings: Mapping[str, RankingFigures], over: str, behind: str) -> list[str]:
    """Curves, one a row; random order's area, against which the others are held, is in none of them.

    Args:
        rankings: by name.
        over: name of the order they are compared with.
        behind: heading of the difference to asking for all.
    """
    rows = [
        f"| escalated first by | area | normalised | points over random | points over {over} | right at "
        f"{TARGET_SHARE:.0%} escalated | {behind} |",
        "|---|---|---|---|---|---|---|",
    ]
    room = rankings[ORACLE].over_random.value > 0
    for name, figures in rankings.items():
        over_plain = "–" if figures.over_plain is None else points(figures.over_plain)
        normalised = number(figures.normalised) if room else "–"
        rows.append(
            f"| {name} | {percent(figures.area)} | {normalised} | {points(figures.over_random)} "
            f"| {over_plain} | {percent(figures.at_target)} | {points(figures.behind_cloud)} |"
        )
    return rows


def target_rows(groups: Sequence[Group]) -> list[str]:
    """Whether each group reaches the target, as shipped and on the curve, and whether any order could."""
    rows = [
        f"Target: at most {100 * TARGET_BEHIND:g} points behind cloud-only with at most {TARGET_SHARE:.0%} of the "
        "signs escalated.",
        "",
        f"| part, recogniser | escalated | points to cloud-only | as shipped | points at {TARGET_SHARE:.0%} by {GAIN} "
        "| on that curve | points of the oracle there | within reach |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group in groups:
        arm, curve, oracle = group.arms[CASCADE], group.rankings[GAIN], group.rankings[ORACLE]
        rows.append(
            f"| {group.part}, {group.recogniser} | {100 * arm.share.value:.1f} % | {points(arm.behind_cloud)} "
            f"| {met(meets_target(arm))} | {points(curve.behind_cloud)} "
            f"| {met(curve.behind_cloud.value >= -TARGET_BEHIND)} | {points(oracle.behind_cloud)} "
            f"| {'yes' if oracle.behind_cloud.value >= -TARGET_BEHIND else 'no'} |"
        )
    return rows


def promise_tables(promises: Sequence[Promise]) -> list[str]:
    """The certificate over splits, as shipped, and under shift."""
    rows = ["## Certificate", "", PROMISE]
    for promise in promises:
        rows += [
            "",
            f"### {promise.recogniser} recogniser, alpha {promise.alpha:.0%}",
            "",
            f"| {promise.drawn.splits} splits | promise broken | rate above {promise.alpha:.0%} "
            "| exact test says above | error rate, mean and 95th percentile | kept, mean | no threshold |",
            "|---|---|---|---|---|---|---|",
            _split_row("one look a phrase", promise.drawn),
            _split_row("every look, against the assumption", promise.every_look),
            "",
            *(
                [
                    *_tried_head("part, certificate as shipped"),
                    *(_tried_row(name, promise.threshold, figures) for name, figures in promise.shipped.items()),
                    "",
                ]
                if promise.shipped
                else ()
            ),
            *_tried_head("certified → tried"),
            *(_tried_row(name, value, figures) for name, (value, figures) in promise.shifts.items()),
        ]
    return rows


def _split_row(name: str, figures: SplitFigures) -> str:
    rates = sorted(figures.rates)
    spread = "–"
    if rates:
        high = rates[min(math.ceil(0.95 * len(rates)), len(rates)) - 1]
        spread = f"{100 * sum(rates) / len(rates):.1f} %, {100 * high:.1f} %"
    return (
        f"| {name} | {100 * figures.broken:.1f} % | {100 * figures.above:.1f} % | {100 * figures.rejected:.1f} % "
        f"| {spread} | {100 * sum(figures.kept) / len(figures.kept):.1f} % | {100 * figures.none:.1f} % |"
    )


def _tried_head(what: str) -> list[str]:
    return [
        f"| {what} | threshold | looks | kept | wrong of the kept | one look a phrase, Clopper–Pearson |",
        "|---|---|---|---|---|---|",
    ]


def _tried_row(name: str, threshold: float | None, figures: TriedFigures) -> str:
    value = "none" if threshold is None else f"{threshold:.3f}"
    wrong, drawn = "–", "–"
    if figures.rate is not None:
        wrong = f"{figures.errors} ({100 * figures.rate:.1f} %)"
    if figures.interval is not None:
        low, high = figures.interval
        drawn = f"{figures.drawn_errors} of {figures.drawn_kept} [{100 * low:.1f}, {100 * high:.1f}] %"
    kept = f"{figures.kept} ({100 * figures.kept / max(figures.total, 1):.1f} %)"
    return f"| {name} | {value} | {figures.total} | {kept} | {wrong} | {drawn} |"


def metamodel_tables(groups: Sequence[Group]) -> list[str]:
    """P(right) against the truth, and the gain it promises."""
    rows = [
        "## Metamodel",
        "",
        'P(right) against the truth; "plain" is the product of the calibrated confidences.',
        "",
        "| part, recogniser, language | looks | right | mean P | AUROC | plain | ECE | plain | Brier |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for group in groups:
        rows += [_judged_row(f"{group.part}, {group.recogniser}, {key}", each) for key, each in group.judged.items()]
    rows += [
        "",
        "Gain of asking, in signs right for each sign asked.",
        "",
        "| part, recogniser, expected gain | looks | expected | found |",
        "|---|---|---|---|",
    ]
    for group in groups:
        rows += [
            f"| {group.part}, {group.recogniser}, {each.low:g} to {each.high:g} | {each.samples} | {each.expected:.3f} "
            f"| {each.found:.3f} |"
            for each in group.gains
        ]
    return rows


def stage_rows(groups: Sequence[Group]) -> list[str]:
    """Where signs go wrong, by language."""
    rows = [
        "Where signs go wrong: with the text, or with its translation.",
        "",
        "| part, recogniser, language | looks | phone: text right | phone: sign right | cloud: text right "
        "| cloud: sign right | after asking for all | no translation from the phone | nor from the cloud |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for group in groups:
        for language, each in group.stages.items():
            cells = (
                each.local_text,
                each.local,
                each.cloud_text,
                each.cloud,
                each.final,
                each.untold,
                each.cloud_untold,
            )
            rows.append(
                f"| {group.part}, {group.recogniser}, {language} | {each.samples} | "
                f"{' | '.join(f'{100 * cell:.1f} %' for cell in cells)} |"
            )
    return rows


def _judged_row(name: str, judged: Judged) -> str:
    return (
        f"| {name} | {judged.samples} | {100 * judged.share_right:.1f} % | {judged.mean:.3f} "
        f"| {_or_dash(judged.auroc)} | {_or_dash(judged.plain_auroc)} | {judged.ece:.3f} "
        f"| {judged.plain_ece:.3f} | {judged.brier:.3f} |"
    )


def trust_tables(trusts: Mapping[str, Mapping[str, Trust]]) -> list[str]:
    """Which recogniser to trust.

    Args:
        trusts: by what the looks are grouped by, then its value.
    """
    rows = [
        "## Which recogniser to trust",
        "",
        'Share of signs right, and in brackets the metamodel\'s mean P(right). "Before reading" takes the recogniser '
        "that the metamodel trusts more by language, light, sharpness and height, the language taken for known; "
        '"after both read" the one with the higher P(right).',
    ]
    for heading, by_value in trusts.items():
        names = list(next(iter(by_value.values())).right)
        rows += [
            "",
            f"| {heading} | looks | {' | '.join(names)} | before reading | after both read | either right |",
            "|---|---|" + "---|" * (len(names) + 3),
        ]
        for value, each in by_value.items():
            cells = " | ".join(f"{100 * each.right[name]:.1f} % ({100 * each.said[name]:.1f})" for name in names)
            rows.append(
                f"| {value} | {each.samples} | {cells} | {100 * each.before:.1f} % | {100 * each.chosen:.1f} % "
                f"| {100 * each.best:.1f} % |"
            )
    return rows


def routing_tables(routed: Sequence[Routed]) -> list[str]:
    """Routing of recorded translations: what an order gains over a random one."""
    rows = [
        "## Routing recorded translations",
        "",
        "Sentences of FLORES dev, not signs; quality is mean sentence chrF. Areas are points of chrF over random "
        "order; brackets come from a bootstrap over sentences.",
        "",
        "| direction, small → large | sentences | small | large | the better of both | oracle's area | routed by "
        f"| area | over {LENGTH} | normalised | at {TARGET_SHARE:.0%} asked |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for pair in routed:
        small, large, both = (100 * arm.quality.value for arm in pair.arms.values())
        head = (
            f"| {pair.direction}, {pair.small} → {pair.large} | {pair.sentences} | {small:.1f} | {large:.1f} "
            f"| {both:.1f} | {100 * pair.rankings[ORACLE].over_random.value:+.2f}"
        )
        for name, figures in pair.rankings.items():
            if name != ORACLE:
                over = "–" if figures.over_plain is None else points(figures.over_plain, 2)
                rows.append(
                    f"{head} | {name} | {points(figures.over_random, 2)} | {over} | {number(figures.normalised)} "
                    f"| {100 * figures.at_target.value:.1f} |"
                )
    return rows


def choosing_table(settings: Sequence[Setting], chosen: Setting | None) -> list[str]:
    """The sweep of the base price, and the setting to take."""
    names = list(settings[0].shares)
    head = " | ".join(f"{name}: escalated | {name}: right" for name in names)
    rows = [
        "## Base price, on the calibration part",
        "",
        f"| base price | {head} | right, mean |",
        "|---|" + "---|" * (2 * len(names) + 1),
    ]
    for each in settings:
        cells = " | ".join(f"{100 * each.shares[name]:.1f} % | {100 * each.qualities[name]:.2f} %" for name in names)
        mark = " ←" if each is chosen else ""
        rows.append(f"| {each.price:.3f}{mark} | {cells} | {100 * each.quality:.2f} % |")
    rows.append("")
    for name in names:
        alone = best([each.only(name) for each in settings], TARGET_SHARE)
        if alone is not None:
            rows += [f"For the {name} recogniser alone it would be {alone.price:.3f}.", ""]
    if chosen is None:
        return [*rows, f"No price keeps every recogniser at {TARGET_SHARE:.0%} escalated or less."]
    return [*rows, f"Chosen: base price {chosen.price:.3f}, the best with at most {TARGET_SHARE:.0%} escalated."]


def percent(found: Interval) -> str:
    """A share with its interval."""
    if found.low == found.high == found.value:
        return f"{100 * found.value:.1f} %"
    return f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}] %"


def points(found: Interval, digits: int = 1) -> str:
    """A difference of shares, in points, with its interval."""
    # Adding 0 makes a rounded -0 a 0.
    value, low, high = (round(100 * each, digits) + 0.0 for each in (found.value, found.low, found.high))
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def number(found: Interval) -> str:
    """A plain number with its interval."""
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def met(yes: bool) -> str:
    """For a target."""
    return "met" if yes else "missed"


def _or_dash(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
