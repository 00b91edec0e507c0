"""What the model cards say of every pack of a task, and of the figures that stand in manifests."""

from __future__ import annotations

from typing import Final

from shared.models.manifest import Task

WHAT: Final = {
    Task.DETECTION: "Finds the lines of text in a picture.",
    Task.RECOGNITION: "Reads one line of text.",
    Task.ORIENTATION: "Says whether a line of text is upright or upside down.",
    Task.TRANSLATION: "Translates sentences of one language into another.",
    Task.CASCADE: "Judges a reading before the cloud is asked: how likely it is right, and what asking would change.",
}
"""What a pack is."""

USE: Final = {
    Task.DETECTION: """
Finding signs: on the glasses in live frames, on the phone and the cloud in a whole frame or strip. It finds printed and
painted text of about 14 pixels of height and more; it does not judge what is worth reading.""",
    Task.RECOGNITION: """
Reading the rectified lines of signs, menus and notices in the languages named above, from 12 pixels of height on. Its
confidence is calibrated before anything is decided by it, and the script of a line is checked first. Not meant for
handwriting, for documents, or for anything that must not be misread, such as medicines.""",
    Task.ORIENTATION: """
Turning a line that is read with little confidence. Not meant for whole pages.""",
    Task.TRANSLATION: """
Translating, offline, what the phrasebook does not know of a sign. Not meant for anything a wrong translation could
harm: safety, medicines, contracts.""",
    Task.CASCADE: """
Deciding whether the phone's reading of a sign is kept or the cloud is asked. Not meant for other recognisers than those
it was trained with, and no promise about any one sign.""",
}
"""What it is for, and what it is not for."""

ENCODING: Final = {
    Task.DETECTION: """
Input: one picture, BGR, divided by 255, less the mean .485/.456/.406, divided by the deviation .229/.224/.225,
channels first, sides rounded to multiples of 32. Output: a probability of text for each pixel
(`shared/models/detection.py`).""",
    Task.RECOGNITION: """
Input: one line, BGR, 48 pixels high, (x/255 - 0.5)/0.5, channels first, zeros to the right. Output: for each step
probabilities of the CTC blank, the characters of the dictionary, and the space (`shared/models/recognition.py`).""",
    Task.ORIENTATION: """
Input: one line, BGR, 48x192 pixels, (x/255 - 0.5)/0.5, channels first. Output: probabilities of upright and upside down
(`shared/models/orientation.py`).""",
    Task.TRANSLATION: """
Input: SentencePiece tokens of a sentence, and the target tokens that its lexical shortlist allows. Output: target
tokens with log-probabilities. The network's int8 weights become ONNX graphs when the pack is installed
(`shared/models/bergamot/`); `conversion` is the format of those graphs.""",
    Task.CASCADE: """
Input: what was measured of one sign, as float32 features (`shared/models/sign_features.py`). Output: P(right),
P(helped), P(harmed) (`shared/models/metamodel.py`).""",
}
"""What goes in and comes out."""

CATALOGUE_FIGURES: Final = {
    "exact_lines": "share of the 198 transcribed lines of 33 test photographs that is read exactly (NFKC, case folded, "
    "without white space), longest side 960 pixels; `pytest -m nightly tests/shared/test_photo_accuracy.py`",
    "vendor_accuracy": "the publisher's own figure",
    "publisher's figures": "the publisher's own figure",
    "flores_dev_first_300_greedy": "first 300 lines of FLORES dev; `wayword-sim bench translation`",
    "reference translations": "the check against reference translations that came with the model",
}
"""What the figures in a manifest's card are, by their key."""
