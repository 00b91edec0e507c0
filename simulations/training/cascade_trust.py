"""Which recogniser to trust in which light and language: one regression each, before anything is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from shared.models.cascade_pack import TrustModel, octaves
from shared.models.sign_features import RECOGNISERS
from simulations.calibration_fit import newton
from simulations.training.cascade_data import Floats, Picture, Table

_RIDGE: Final = 3.0
_USUAL: Final = Picture(24.0, 0.25, 0.5)
"""Where the traces measured nothing."""


def fit_trust(train: Table) -> dict[str, TrustModel]:
    """A model for every recogniser that the traces have."""
    usual = Picture(
        _median((picture.height_px for picture in train.pictures), _USUAL.height_px),
        _median((picture.sharpness for picture in train.pictures), _USUAL.sharpness),
        _median((picture.brightness for picture in train.pictures), _USUAL.brightness),
    )
    languages = sorted({sign.language for sign in train.signs})
    found = {}
    for number, pack in enumerate(RECOGNISERS):
        rows = train.where(train.recogniser == number)
        if len(rows):
            found[pack] = _fitted(rows, languages, usual)
    return found


def _fitted(rows: Table, languages: Sequence[str], usual: Picture) -> TrustModel:
    x = np.array(
        [
            (*(sign.language == language for language in languages), *_measures(picture, usual), 1.0)
            for sign, picture in zip(rows.signs, rows.pictures, strict=True)
        ],
        np.float64,
    )
    y = rows.right.astype(np.float64)
    first = len(languages)
    kept = np.full(x.shape[1], True)
    while True:
        beta: Floats = np.zeros(x.shape[1])
        beta[kept] = newton(x[:, kept], y, _RIDGE)
        # A higher or sharper line is never trusted less: where a sample says so, it says nothing of them.
        against = [column for column in (first, first + 1) if beta[column] < 0]
        if not against:
            break
        kept[min(against, key=lambda column: beta[column])] = False
    weights = [round(float(weight), 4) for weight in beta]
    height, sharpness, brightness, bias = weights[len(languages) :]
    return TrustModel(
        bias=bias,
        languages=dict(zip(languages, weights, strict=False)),
        height=height,
        sharpness=sharpness,
        brightness=brightness,
        usual_height=usual.height_px or 1.0,
        usual_sharpness=usual.sharpness or 1.0,
        usual_brightness=usual.brightness or 0.0,
    )


def _measures(picture: Picture, usual: Picture) -> tuple[float, float, float]:
    brightness = picture.brightness if picture.brightness is not None else usual.brightness or 0.0
    return (
        octaves(picture.height_px, usual.height_px or 1.0),
        octaves(picture.sharpness, usual.sharpness or 1.0),
        brightness - (usual.brightness or 0.0),
    )


def _median(values: Iterable[float | None], otherwise: float | None) -> float | None:
    known = [value for value in values if value]
    return round(float(np.median(known)), 4) if known else otherwise
