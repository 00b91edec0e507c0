"""What the REST twin takes and gives, as documented JSON. The meaning of every field is that of cloud.proto."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from cloud.reading.validation import MAX_KEY_CHARACTERS
from shared.limits import MAX_READING_LINES, MAX_STRIP_HEIGHT, MAX_STRIP_LINES, MAX_STRIP_WIDTH, MAX_TEXT_CHARACTERS

Language = Annotated[str, Field(pattern="^[a-z]{2}$", description="lower-case ISO 639-1 code", examples=["pt"])]
Corners = Annotated[
    list[float],
    Field(
        min_length=8,
        max_length=8,
        description="x0 y0 x1 y1 x2 y2 x3 y3 in pixels, clockwise from the top-left corner as read",
        examples=[[412, 220, 604, 214, 606, 262, 414, 268]],
    ),
]
Probability = Annotated[float, Field(ge=0, le=1)]
EngineName = Annotated[
    str,
    Field(
        description="what produced the translation: phrasebook, translator, copy, mixed or none",
        examples=["phrasebook"],
    ),
]


class _Taken(BaseModel):
    """Fields that nobody knows are refused: a misspelt one would silently do nothing."""

    model_config = ConfigDict(extra="forbid")


class LineIn(_Taken):
    """One rectified line of text."""

    image: str | None = Field(
        default=None,
        description=f"the picture, base64; at most {MAX_STRIP_WIDTH}x{MAX_STRIP_HEIGHT} pixels. Left out in a "
        "multipart request, whose parts named `line` are the pictures, in the order of these entries",
        examples=["UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAgA0JaQAA3AA/vuUAAA="],
    )
    quad: Corners = Field(description="where the line lies in the frame it was cut from")
    inner: Corners | None = Field(
        default=None, description="the line inside the picture, which may carry a margin; left out: all of it"
    )
    detection_confidence: Probability = Field(default=1.0, description="how sure the detector was of the line")


class ReadIn(_Taken):
    """Lines of one sign to read and translate."""

    target: Language = Field(description="language wanted", examples=["en"])
    source: Language | None = Field(default=None, description="language of the sign; left out: it is identified")
    encoding: Literal["webp", "jpeg"] = Field(default="webp", description="of every picture")
    lines: list[LineIn] = Field(min_length=1, max_length=MAX_STRIP_LINES, description="in reading order")
    is_frame: bool = Field(default=False, description="the one line is a whole picture in which lines are to be found")
    local_text: str = Field(
        default="", max_length=MAX_TEXT_CHARACTERS, description="what a smaller model read; a hint that may be wrong"
    )


class TranslateIn(_Taken):
    """Lines of one sign to translate."""

    target: Language = Field(description="language wanted", examples=["en"])
    source: Language | None = Field(default=None, description="language of the lines; left out: it is identified")
    lines: list[str] = Field(
        min_length=1,
        max_length=MAX_READING_LINES,
        description="in reading order",
        examples=[["Proibido estacionar", "das 8h às 20h"]],
    )


class PackOut(BaseModel):
    """An installed pack."""

    name: str = Field(examples=["mt-pt-en"])
    version: str = Field(examples=["1693087646"])


class ConfidenceOut(BaseModel):
    """Probability that each stage is right; null where the stage did not run."""

    detection: Probability | None = None
    recognition: Probability | None = None
    script: Probability | None = None
    language: Probability | None = None
    translation: Probability | None = None


class LineOut(BaseModel):
    """One line as read."""

    text: str = Field(examples=["Saída"])
    quad: Corners = Field(description="in pixels of the frame, or of the picture that was sent whole")
    recognition_confidence: Probability = Field(examples=[0.98])


class ReadOut(BaseModel):
    """What a sign says, and what that means."""

    text: str = Field(description="lines in reading order, joined by line breaks", examples=["Saída"])
    translation: str = Field(description="empty when `engine` is none", examples=["Exit"])
    source: Language | None = Field(description="as stated or identified; null when unknown")
    target: Language = Field(examples=["en"])
    engine: EngineName
    unreadable: str | None = Field(
        description="why there is no text or no translation, such as `script` or `direction`; null when all is well"
    )
    confidence: ConfidenceOut
    lines: list[LineOut]
    recognition_pack: PackOut | None
    translation_pack: PackOut | None
    stage_ms: dict[str, float] = Field(description="milliseconds that each stage took", examples=[{"recognise": 31.0}])


class TranslateOut(BaseModel):
    """What lines mean."""

    translation: str = Field(
        description="joined by line breaks; empty when `engine` is none", examples=["No parking\n8 am to 8 pm"]
    )
    source: Language | None = Field(description="as stated or identified; null when unknown")
    target: Language = Field(examples=["en"])
    engine: EngineName
    unreadable: str | None = Field(description="why there is no translation; null when all is well")
    confidence: ConfidenceOut
    translation_pack: PackOut | None
    stage_ms: dict[str, float] = Field(description="milliseconds that each stage took", examples=[{"translate": 6.5}])


class ProblemOut(BaseModel):
    """Why a call was not answered (RFC 9457, application/problem+json)."""

    type: str = Field(examples=["urn:wayword:overloaded"])
    title: str = Field(description="the reason, for people", examples=["Overloaded"])
    status: int = Field(description="the HTTP status again", examples=[503])
    detail: str = Field(
        description="one line, never with content of a sign", examples=["no capacity before the deadline of the call"]
    )
    reason: str = Field(description="for programs; the same word as in logs and metrics", examples=["overloaded"])
    retry_after_ms: int | None = Field(
        default=None,
        description="when a repeated call may be admitted; the header Retry-After says it in whole seconds",
        examples=[120],
    )


class HealthOut(BaseModel):
    """Whether the service lives, or takes calls."""

    status: Literal["ok", "draining"]


KeyHeader = Annotated[str, Field(max_length=MAX_KEY_CHARACTERS)]
