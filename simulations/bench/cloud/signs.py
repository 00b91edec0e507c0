"""Requests as phones make them: rendered signs of several languages, one to four strips each, about 1-15 kB together.

Texts are from the development half of the sign phrases, drawn with OpenCV's own faces, so that every machine has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from glasses.strips import available_encoding, compress
from shared.messages.wayword.v1 import cloud_pb2, types_pb2
from simulations.bench.sign_phrases import Half
from simulations.bench.sign_phrases import load as load_phrases
from simulations.rendered_lines import Part, Typesetter

LANGUAGES: Final = ("pt", "es", "fr", "de", "it", "ja", "zh")
"""Those whose script the recognisers have."""
LINES: Final = (0.4, 0.3, 0.2, 0.1)
"""Shares of signs with one line, two, and so on. A judgement: what is escalated is mostly short."""
HEIGHTS: Final = (64, 48, 40)
"""Of the strips, in pixels: up to the glasses' own limit, and legible."""
QUALITY: Final = 75
"""Of the compression: the glasses' default."""


def sign_requests(count: int, *, seed: int, languages: Sequence[str] = LANGUAGES) -> list[cloud_pb2.ReadStripRequest]:
    """Different signs, without idempotency keys.

    Args:
        count: how many.
        seed: equal seeds give equal requests.
        languages: dealt in turns.
    """
    rng = np.random.default_rng(seed)
    typesetter = Typesetter()
    phrases = {language: [p for p in load_phrases(language) if p.half is Half.DEV] for language in languages}
    encoding = available_encoding()
    kinds = {"webp": types_pb2.IMAGE_ENCODING_WEBP, "jpg": types_pb2.IMAGE_ENCODING_JPEG}
    requests = []
    for number in range(count):
        language = languages[number % len(languages)]
        found = phrases[language]
        wanted = 1 + int(rng.choice(len(LINES), p=LINES))
        picked = rng.choice(len(found), wanted, replace=False)
        texts = "\n".join(found[index].source for index in picked).split("\n")[:wanted]
        request = cloud_pb2.ReadStripRequest(direction=types_pb2.Direction(source=language, target="en"))
        request.strip.frame_id, request.strip.region_id = number, number
        request.strip.encoding = kinds[encoding.value]
        top = 100.0
        for text in texts:
            image = typesetter.line(text, rng, Part.REPORT, heights=HEIGHTS).image
            height, width = image.shape[:2]
            request.strip.lines.append(
                types_pb2.StripLine(
                    image=compress(image, encoding, QUALITY),
                    quad=types_pb2.Quad(xy=(100, top, 100 + width, top, 100 + width, top + height, 100, top + height)),
                    detection_confidence=0.9,
                )
            )
            top += 1.3 * height
        requests.append(request)
    return requests
