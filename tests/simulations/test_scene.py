"""The street walk shows what its truth says it shows."""

from __future__ import annotations

import numpy as np
import pytest

from shared.geometry import area
from simulations.scene import HEIGHT, WIDTH, StreetWalk
from simulations.signs import STYLES, degrade, render_sign


@pytest.fixture(scope="module")
def walk() -> StreetWalk:
    return StreetWalk(seed=3)


def test_the_same_seed_draws_the_same_frame(walk: StreetWalk) -> None:
    assert np.array_equal(StreetWalk(seed=5).render(2.5), StreetWalk(seed=5).render(2.5))
    assert not np.array_equal(StreetWalk(seed=5).render(2.5), StreetWalk(seed=6).render(2.5))


def test_every_sign_is_in_view_and_readable_while_the_wearer_rests(walk: StreetWalk) -> None:
    best: dict[int, float] = {}
    for t in np.arange(0.0, walk.duration, 0.1):
        for index, quads in walk.sign_quads(float(t)).items():
            height = min(float(np.linalg.norm(quad[3] - quad[0])) for quad in quads)
            best[index] = max(best.get(index, 0.0), height)
    assert sorted(best) == list(range(len(walk.signs)))
    # Text below about 12 px cannot be read by the models.
    assert min(best.values()) > 16


def test_the_walk_has_signs_in_all_five_languages(walk: StreetWalk) -> None:
    assert {sign.language for sign in walk.signs} == {"pt", "es", "fr", "de", "ja"}


def test_truth_quads_lie_on_high_contrast_text(walk: StreetWalk) -> None:
    t = 3.0
    frame = walk.render(t)
    visible = walk.sign_quads(t)
    assert visible
    for quads in visible.values():
        for quad in quads:
            x0, y0 = np.floor(quad.min(axis=0)).astype(int)
            x1, y1 = np.ceil(quad.max(axis=0)).astype(int)
            patch = frame[max(y0, 0) : min(y1, HEIGHT), max(x0, 0) : min(x1, WIDTH)]
            assert np.ptp(patch.mean(axis=2)) > 60


def test_the_head_moves_and_rests(walk: StreetWalk) -> None:
    def speed(t: float) -> float:
        return float(np.linalg.norm(walk.pose(t + 0.05).position - walk.pose(t - 0.05).position)) / 0.1

    assert speed(5.0) > 1.0
    assert speed(3.0) < 0.2


def test_a_sign_leaves_the_view_when_the_wearer_walks_on(walk: StreetWalk) -> None:
    assert 0 in walk.sign_quads(2.0)
    assert 0 not in walk.sign_quads(walk.duration)


def test_rendered_lines_are_inside_the_texture_and_do_not_overlap() -> None:
    texture, quads = render_sign(("Saída", "Exit"), STYLES[0])
    height, width = texture.shape[:2]
    for quad in quads:
        assert quad.min() >= 0
        assert quad[:, 0].max() < width
        assert quad[:, 1].max() < height
        assert area(quad) > 100
    assert quads[0][:, 1].max() <= quads[1][:, 1].min()


def test_degrading_keeps_the_asked_height() -> None:
    texture, _ = render_sign(("Saída",), STYLES[2])
    small = degrade(texture, np.random.default_rng(0), height=12, blur=0.5, noise=3.0)
    assert small.shape[0] == 12
    assert small.dtype == np.uint8
