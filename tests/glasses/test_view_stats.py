"""What the gate measures does not depend on the exposure, and tells text from walls and sharp from smeared."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from signboards import Wall

from glasses.camera import luma_of
from glasses.stabiliser import Luma
from glasses.view_stats import Texture, measure

FLOOR = 0.04


def _signs() -> Luma:
    wall = Wall()
    wall.sign("Saída de emergência", 200, 120)
    wall.sign("O museu abre\nàs nove horas", 500, 400, size=36, paper=(230, 240, 240), ink=(20, 20, 20))
    return luma_of(wall.picture)


def _text_cells(texture: Texture) -> int:
    return int((texture > FLOOR).sum())


def _smeared(luma: Luma, pixels: int) -> Luma:
    return np.asarray(cv2.blur(luma, (pixels, 1)), np.uint8)


def _noisy(luma: Luma, gain: float, noise: float) -> Luma:
    grain = np.random.default_rng(3).normal(0, noise, luma.shape)
    return np.asarray(np.clip(luma * gain + grain, 0, 255), np.uint8)


def test_text_stands_out_where_it_is() -> None:
    texture = measure(_signs()).texture
    assert texture.shape == (45, 80)
    rows, columns = np.nonzero(texture > FLOOR)
    # The signs lie between x 200 and 1100, y 120 and 540; a cell is 16 px, and the measure is smoothed over three.
    assert 200 / 16 - 2 <= columns.min() <= columns.max() <= 1100 / 16 + 2
    assert 120 / 16 - 2 <= rows.min() <= rows.max() <= 540 / 16 + 2
    assert len(rows) > 60


def test_walls_edges_gradients_and_noise_do_not_look_like_text() -> None:
    edge = np.full((720, 1280), 60, np.uint8)
    edge[:, 640:] = 200
    gradient = np.tile(np.linspace(0, 255, 1280).astype(np.uint8), (720, 1))
    noise = _noisy(np.full((720, 1280), 40, np.uint8), 1.0, 4.0)
    for luma in (luma_of(Wall().picture), edge, gradient, noise, np.zeros((720, 1280), np.uint8)):
        assert _text_cells(measure(luma).texture) == 0


@pytest.mark.parametrize("gain", [0.4, 0.7, 1.3])
def test_an_exposure_jump_changes_neither_measure(gain: float) -> None:
    plain, other = measure(_noisy(_signs(), 1.0, 2.0)), measure(_noisy(_signs(), gain, 2.0))
    assert plain.sharpness is not None
    assert other.sharpness == pytest.approx(plain.sharpness, rel=0.06)
    assert _text_cells(other.texture) == pytest.approx(_text_cells(plain.texture), rel=0.25)


def test_smear_along_either_axis_lowers_the_sharpness_step_by_step() -> None:
    luma = _noisy(_signs(), 1.0, 2.0)
    for turned in (luma, np.ascontiguousarray(luma.T)):
        values = [measure(image).sharpness or 0.0 for image in (turned, _smeared(turned, 5), _smeared(turned, 9))]
        assert values[1] < 0.9 * values[0]
        assert values[2] < 0.95 * values[1]


def test_a_view_without_edges_has_no_sharpness() -> None:
    assert measure(_noisy(np.full((720, 1280), 120, np.uint8), 1.0, 3.0)).sharpness is None


@pytest.mark.parametrize("shape", [(480, 640), (1080, 1920), (1280, 720), (31, 17), (1, 1)])
def test_frames_of_any_size_can_be_measured(shape: tuple[int, int]) -> None:
    stats = measure(np.full(shape, 90, np.uint8))
    assert stats.texture.ndim == 2
    assert not stats.texture.any()
    assert stats.sharpness is None
