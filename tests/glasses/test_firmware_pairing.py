"""While the glasses are being paired, the firmware shows it in every picture."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from firmware_world import FilmSource, firmware_world, kept, wall_with_signs
from signboards import Wall, WallDetector, lines_of, shift

from glasses.banner import Banner, Pairing
from glasses.faces import Fonts
from shared.geometry import ImageBgr
from shared.messages.wayword.v1 import types_pb2


@pytest.fixture
def wall() -> Wall:
    return wall_with_signs()


def _with_banner(picture: ImageBgr, pairing: Pairing) -> ImageBgr:
    image = picture.copy()
    Banner(Fonts()).draw(image, pairing)
    return image


async def test_the_number_to_compare_is_in_every_picture_until_it_is_answered(wall: Wall, tmp_path: Path) -> None:
    source = FilmSource(wall, [shift(0, 0)] * 40, hold_at=99)
    asked = [Pairing(), Pairing("048215"), Pairing("048215")]
    unanswered = asked.copy()
    async with firmware_world(tmp_path) as world:
        world.pairing = lambda: unanswered.pop(0) if unanswered else None
        await world.run(source, kept)
    pictures = world.gallery.pictures
    assert len(pictures) > len(asked)
    for picture, pairing in zip(pictures, asked, strict=False):
        assert (picture == _with_banner(wall.picture, pairing)).all()
    for picture in pictures[len(asked) :]:
        assert (picture == wall.picture).all()


async def test_a_still_shows_the_number_and_is_kept_without_it(wall: Wall, tmp_path: Path) -> None:
    async with firmware_world(tmp_path) as world:
        world.pairing = lambda: Pairing("048215")
        await world.run(world.still(wall.picture), kept)
    assert (world.gallery.pictures[0] == _with_banner(wall.picture, Pairing("048215"))).all()
    assert (world.gallery.pictures[-1] == wall.picture).all()


async def test_a_still_is_drawn_anew_when_the_number_comes_and_goes(wall: Wall, tmp_path: Path) -> None:
    async def silence(strip: types_pb2.Strip) -> list[types_pb2.Reading]:
        return []

    async with firmware_world(tmp_path) as world:
        world.detector = WallDetector(lines_of(wall.quads[1]))
        unanswered = [Pairing()] * 5 + [Pairing("048215")] * 5
        world.pairing = lambda: unanswered.pop(0) if unanswered else None
        await world.run(world.still(wall.picture), silence, answer_timeout_s=0.5)
    kinds = [_banner_in(picture) for picture in world.gallery.pictures]
    assert [kind for kind, _ in itertools.groupby(kinds)] == [Pairing(), Pairing("048215"), None]


def _banner_in(picture: ImageBgr) -> Pairing | None:
    for pairing in (Pairing(), Pairing("048215")):
        if (picture == _with_banner(picture, pairing)).all():
            return pairing
    return None
