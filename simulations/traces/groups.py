"""Signs that belong together: those that have a phrase in common are right and wrong together."""

from __future__ import annotations

from collections.abc import Sequence

from simulations.traces.records import SignTrace


def groups_of(signs: Sequence[SignTrace]) -> list[str]:
    """For every look the name of its group.

    A sign may have several phrases, joined by "+" in `SignTrace.phrase`. Two looks are in one group when they have a
    phrase in common, or are joined by others that have; so no phrase is in two groups. A group is named after the first
    of its phrases in alphabetical order.
    """
    leaders: dict[str, str] = {}

    def leader(phrase: str) -> str:
        while (above := leaders.setdefault(phrase, phrase)) != phrase:
            leaders[phrase] = leaders[above]
            phrase = above
        return phrase

    for sign in signs:
        first, *others = map(leader, sign.phrase.split("+"))
        for other in others:
            leaders[max(first, other)] = first = min(first, other)
    return [leader(sign.phrase.partition("+")[0]) for sign in signs]
