"""Answers written short: `Push [the] {button/knob}` stands for four of them."""

from __future__ import annotations

from shared.errors import InputError

_MAX_DEPTH = 8
_CLOSING = {"{": "}", "[": "]"}


def expand(text: str, most: int) -> tuple[str, ...]:
    """Every answer that a cell of a list stands for, each once, in order.

    Args:
        text: answers separated by `|`. In an answer `[x]` may be absent and `{x/y}` is either; both nest. White space
            that an absent part leaves behind is removed. Outside of braces a slash is a slash.
        most: the most answers there may be.

    Raises:
        InputError: a bracket is not closed, not opened or nested too deeply, an answer is empty, or there are more
            than `most`.
    """
    answers: dict[str, None] = {}
    for part in text.split("|"):
        texts, end = _sequence(part, 0, "", most, 0)
        if end != len(part):
            raise InputError(f"{part[end]!r} was not opened in {part[:80]!r}")
        for answer in texts:
            tidy = " ".join(answer.split())
            if not tidy:
                raise InputError("an answer says nothing")
            answers[tidy] = None
        if len(answers) > most:
            raise InputError(f"more than {most} answers")
    return tuple(answers)


def _sequence(text: str, start: int, until: str, most: int, depth: int) -> tuple[list[str], int]:
    """What the text from `start` stands for, and where it ends: at one of `until`, a stray bracket, or the end."""
    if depth > _MAX_DEPTH:
        raise InputError(f"brackets are nested more than {_MAX_DEPTH} deep")
    texts = [""]
    position = start
    while position < len(text):
        character = text[position]
        if character in until or character in "]}":
            break
        if character in _CLOSING:
            choices, position = _choices(text, position, most, depth)
        else:
            literal_end = position + 1
            while literal_end < len(text) and text[literal_end] not in "[]{}" and text[literal_end] not in until:
                literal_end += 1
            choices, position = [text[position:literal_end]], literal_end
        if len(texts) * len(choices) > most:
            raise InputError(f"more than {most} answers")
        texts = [before + choice for before in texts for choice in choices]
    return texts, position


def _choices(text: str, start: int, most: int, depth: int) -> tuple[list[str], int]:
    """What the bracket that opens at `start` may be, and the position after it."""
    closing = _CLOSING[text[start]]
    choices: list[str] = []
    position = start
    while True:
        texts, position = _sequence(text, position + 1, "/}" if closing == "}" else "]", most, depth + 1)
        choices += texts
        if position == len(text) or text[position] not in ("/", closing):
            raise InputError(f"{text[start]!r} is not closed in {text[:80]!r}")
        if text[position] == closing:
            break
    if closing == "]":
        choices.append("")
    return choices, position + 1
