"""From a rendered sign to its records."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from simulations.traces.labelled import LabelledSign
from simulations.traces.pipelines import Judge, Pipelines, any_of, whole
from simulations.traces.records import SignTrace

LOOK_SECONDS: Final = 2.0
"""Between two looks at a sign: a few steps."""
SIGN_SECONDS: Final = 100.0
"""Between two signs: longer than looks are remembered."""
LOOKS: Final = 8
"""Frame numbers kept for one sign."""


@dataclass(frozen=True)
class Traced:
    """What one sign, or one photograph, gave.

    Attributes:
        number: of it.
        looks: one record for every look whose strip holds the whole sign.
        unseen: looks in which the glasses found none of its lines.
        partial: looks in which they found a part of it only, or took it for several signs.
    """

    number: int
    looks: tuple[SignTrace, ...] = field(default=())
    unseen: int = 0
    partial: int = 0


def trace_sign(sign: LabelledSign, pipelines: Pipelines) -> Traced:
    """Every look at a sign through everything."""
    judge = Judge(sign.text_right, sign.translation_right)
    looks: list[SignTrace] = []
    unseen = partial = 0
    for number in range(len(sign.looks)):
        scene = sign.scene(number)
        frame, looked, detection_ms = pipelines.look(
            scene.frame,
            frame_id=sign.number * LOOKS + number + 1,
            captured=sign.number * SIGN_SECONDS + number * LOOK_SECONDS + 1,
        )
        found = whole(looked.found, scene.quads)
        if found is None:
            seen = any_of(looked.found, scene.quads)
            partial, unseen = partial + seen, unseen + (not seen)
            continue
        strip = pipelines.run(frame, found, region_id=sign.number + 1, judge=judge)
        looks.append(
            SignTrace(
                sign=sign.number,
                look=number,
                part=sign.part,
                phrase=sign.phrase,
                language=sign.language,
                truth=sign.truth,
                view=scene.view,
                lines=len(sign.lines),
                strip_bytes=strip.strip_bytes,
                still_bytes=pipelines.still_bytes(frame),
                detection_ms=detection_ms,
                local=strip.local,
                cloud=strip.cloud,
                source=sign.source,
            )
        )
    return Traced(sign.number, tuple(looks), unseen, partial)
