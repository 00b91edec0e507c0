"""The hash of a strip: one sign from many sides and lights, other signs, and what is no picture."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import InputError
from shared.messages.wayword.v1 import types_pb2
from shared.places.matching import NEAR, hash_distance
from shared.places.pictures import lines_hash, strip_hash
from simulations.place_views import View, strip_of
from simulations.signs import STYLES

SIGNS = (("Saída de emergência",), ("O museu abre", "às nove horas"), ("立入禁止",), ("Boulangerie",))


def hashed(lines: tuple[str, ...], view: View, seed: int = 1) -> int:
    found = strip_hash(strip_of(lines, view, np.random.default_rng(seed), style=STYLES[2]))
    assert found is not None
    return found


def test_most_views_of_a_sign_from_the_side_in_another_light_have_nearly_the_hash_of_earlier_ones() -> None:
    rng = np.random.default_rng(11)
    distances = []
    for lines in SIGNS:
        seen = [hashed(lines, View.random(rng, most_deg=35), seed) for seed in range(9)]
        typical = min(seen[:3], key=lambda one: sum(hash_distance(one, other) for other in seen[:3]))
        distances += [hash_distance(typical, later) for later in seen[3:]]
    # Both limits guard against a change for the worse, with room below what these four signs give; how good the hash is
    # on many is what `wayword-cloud bench places` measures.
    assert sum(distance <= NEAR for distance in distances) >= 0.6 * len(distances), distances
    assert max(distances) < 24, "two that show nothing alike differ in 32 bits of 64"


def test_other_signs_have_other_hashes() -> None:
    found = [hashed(lines, View()) for lines in SIGNS]
    for index, one in enumerate(found):
        for other in found[:index]:
            assert hash_distance(one, other) > NEAR


def test_brightness_and_contrast_change_hardly_a_bit() -> None:
    rng = np.random.default_rng(3)
    picture = np.full((48, 300, 3), 180, np.float64)
    for x in range(20, 280, 26):
        picture[8:40, x : x + int(rng.integers(4, 18))] = 40
    dim = (picture * 0.4 + 30).astype(np.uint8)
    one, other = lines_hash([picture.astype(np.uint8)]), lines_hash([dim])
    assert one is not None
    assert other is not None
    assert hash_distance(one, other) <= 2


def test_a_blank_and_a_whole_frame_have_no_hash() -> None:
    assert lines_hash([np.full((40, 200, 3), 127, np.uint8)]) is None
    assert lines_hash([]) is None
    assert strip_hash(types_pb2.Strip(is_frame=True)) is None


@pytest.mark.parametrize(
    "line",
    [
        types_pb2.StripLine(image=b"no picture"),
        types_pb2.StripLine(),
    ],
)
def test_what_cannot_be_decoded_is_refused(line: types_pb2.StripLine) -> None:
    with pytest.raises(InputError):
        strip_hash(types_pb2.Strip(lines=[line]))


def test_a_line_outside_its_picture_is_refused() -> None:
    strip = strip_of(("Saída",), View(), np.random.default_rng(1))
    strip.lines[0].inner.xy[:] = [float("nan")] * 8
    with pytest.raises(InputError):
        strip_hash(strip)
