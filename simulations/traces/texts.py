"""Traces without texts: a file that says how pipelines fare, and not what was written."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from simulations.traces.records import SignTrace

TOKEN_LETTERS: Final = 10


def without_texts(signs: Sequence[SignTrace]) -> list[SignTrace]:
    """Every line of text replaced by a token: equal lines give equal tokens, empty ones stay empty."""
    return [
        replace(
            sign,
            truth=token(sign.truth),
            local={
                name: replace(one, text=token(one.text), translation=token(one.translation))
                for name, one in sign.local.items()
            },
            cloud=replace(sign.cloud, text=token(sign.cloud.text), translation=token(sign.cloud.translation)),
        )
        for sign in signs
    ]


def token(text: str) -> str:
    """A short hash for every line of a text."""
    return "\n".join(
        f"#{hashlib.sha256(line.encode()).hexdigest()[:TOKEN_LETTERS]}" if line else "" for line in text.split("\n")
    )
