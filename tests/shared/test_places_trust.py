"""What several devices make of a sign: who is counted, what is shared, and that a minority never wins."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InputError
from shared.messages.wayword.v1 import places_pb2
from shared.places.cells import CELLS_AROUND, around, cell_at, cell_name, cell_number, check_cell
from shared.places.messages import known_of, reading_message, reading_of, to_message
from shared.places.reading import KnownSign, PlaceEngine, PlaceReading, check_reading
from shared.places.trust import MIN_DEVICES, Vote, lower_bound, weigh

CELL = cell_at(38.7107, -9.1366)
HASH = 0x0123_4567_89AB_CDEF
RIGHT = PlaceReading(CELL, "Saída de emergência", "Emergency exit", "pt", "en", HASH, 0.9, PlaceEngine.PHRASEBOOK)
POISON = replace(RIGHT, translation="Free beer")


def votes(reading: PlaceReading, devices: range, *, day: int = 20_000) -> list[Vote]:
    return [Vote(reading, f"device {number}".encode(), day) for number in devices]


@pytest.mark.parametrize("devices", range(6))
def test_a_sign_is_shared_from_the_third_device_on(devices: int) -> None:
    found = weigh(votes(RIGHT, range(devices)))
    assert len(found) == (devices >= MIN_DEVICES)


def test_one_device_counts_once_however_often_and_however_it_votes() -> None:
    many = [Vote(replace(RIGHT, text=text), b"one", 20_000 + day) for day, text in enumerate((RIGHT.text.upper(),) * 9)]
    assert weigh([*many, *votes(RIGHT, range(1))]) == []


def test_the_bound_is_the_quantile_of_the_beta_distribution() -> None:
    for agree in range(12):
        # Beta(1 + a, 1) has the distribution function x^(1 + a).
        assert lower_bound(agree, 0) == pytest.approx(0.2 ** (1 / (1 + agree)), abs=1e-9)
        # And Beta(1, 1 + d) has 1 - (1 - x)^(1 + d).
        assert lower_bound(0, agree) == pytest.approx(1 - 0.8 ** (1 / (1 + agree)), abs=1e-9)
    assert lower_bound(100_000, 0) < 1.0


def test_disagreeing_readings_lower_the_trust_until_the_sign_is_silent() -> None:
    seen = []
    for against in range(5):
        found = weigh([*votes(RIGHT, range(6)), *votes(POISON, range(100, 100 + against))])
        seen.append(found[0].trust if found else 0.0)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] > seen[1] > seen[2] > 0.5
    assert seen[4] == 0.0


@settings(max_examples=30, deadline=None)
@given(honest=st.integers(0, 40), poisoned=st.integers(0, 40))
def test_a_minority_never_wins(honest: int, poisoned: int) -> None:
    found = weigh([*votes(RIGHT, range(honest)), *votes(POISON, range(100, 100 + poisoned))])
    assert len(found) <= 1
    if found:
        winner = found[0].reading.translation
        assert winner == (RIGHT.translation if honest > poisoned else POISON.translation)
        assert max(honest, poisoned) >= MIN_DEVICES
    else:
        assert max(honest, poisoned) < MIN_DEVICES or lower_bound(*sorted((honest, poisoned), reverse=True)) < 0.5


def test_what_is_handed_out_was_read_in_these_very_words_by_enough_devices() -> None:
    spellings = ["Saída de emergência", "Saída de emergéncla", "Saída de emergênoia", "Saída de emargência"]
    alike = [Vote(replace(RIGHT, text=text), text.encode(), 20_000) for text in spellings]
    assert weigh(alike) == []
    (known,) = weigh([*alike, *votes(RIGHT, range(2))])
    assert known.reading.text == RIGHT.text
    assert known.devices == 3
    assert known.trust > lower_bound(3, 0), "nearly the same text with the same translation agrees"


def test_text_decides_between_signs_that_look_alike() -> None:
    three, five = (
        replace(RIGHT, text="Gate 3", translation="Gate 3"),
        replace(RIGHT, text="Gate 5", translation="Gate 5"),
    )
    found = weigh([*votes(three, range(4)), *votes(five, range(10, 15))])
    assert {sign.reading.text for sign in found} == {"Gate 3", "Gate 5"}


def test_a_disputed_picture_proves_nothing() -> None:
    honest = votes(RIGHT, range(5))
    (alone,) = weigh(honest)
    assert alone.reading.picture_hash == HASH
    liars = votes(replace(RIGHT, text="Cerveja grátis para todos", translation="Free beer"), range(100, 104))
    texts = {sign.reading.text: sign.reading.picture_hash for sign in weigh([*honest, *liars])}
    assert texts[RIGHT.text] is None
    assert texts.get("Cerveja grátis para todos") is None


def test_a_few_made_up_pictures_move_nothing() -> None:
    seen = [HASH, HASH ^ 1, HASH ^ 6, HASH ^ 8]
    pictures = [*seen, 0, 2**64 - 1]
    known = weigh(
        [Vote(replace(RIGHT, picture_hash=picture), bytes([n]), 20_000) for n, picture in enumerate(pictures)]
    )
    assert known[0].reading.picture_hash in seen


def test_a_newer_vote_replaces_an_older_one() -> None:
    old = votes(POISON, range(5), day=19_000)
    new = votes(RIGHT, range(5), day=20_000)
    (known,) = weigh([*new, *old])
    assert known.reading.translation == RIGHT.translation
    assert known.trust == lower_bound(5, 0)


def test_a_place_has_a_cell_and_six_neighbours() -> None:
    near = around(CELL)
    assert near[0] == CELL
    assert len(set(near)) == CELLS_AROUND
    assert [cell_name(cell_number(cell)) for cell in near] == list(near)


@pytest.mark.parametrize(
    "cell", ["", "8a393360d89fff", "8A393360D89FFFF", "89393360d8bffff", "08a393360d89ffff", "zz" * 40]
)
def test_what_is_no_cell_is_refused(cell: str) -> None:
    with pytest.raises(InputError, match="place cell"):
        check_cell(cell)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": " "},
        {"text": "a" * 513},
        {"translation": ""},
        {"text": "Saída\x00"},
        {"target": "eng"},
        {"source": "P"},
        {"picture_hash": -1},
        {"picture_hash": 2**64},
        {"confidence": float("nan")},
        {"cell": "89393360d8bffff"},
    ],
)
def test_a_malformed_reading_is_refused_without_its_content(changes: dict[str, object]) -> None:
    with pytest.raises(InputError) as failure:
        check_reading(replace(RIGHT, **changes))  # type: ignore[arg-type]
    assert "Saída" not in failure.value.message


def test_a_reading_travels_whole() -> None:
    assert reading_of(reading_message(replace(RIGHT, confidence=0.5))) == replace(RIGHT, confidence=0.5)
    unseen = replace(RIGHT, picture_hash=None, confidence=0.0, engine=PlaceEngine.UNKNOWN)
    assert reading_of(reading_message(unseen)) == unseen


def test_what_the_cloud_claims_is_kept_within_bounds() -> None:
    message = to_message(KnownSign(replace(RIGHT, confidence=0.75), 0.75, 1000))
    assert known_of(message).devices == 255
    message.trust = 7.0
    assert known_of(message).trust == 0.0
    with pytest.raises(InputError):
        known_of(places_pb2.PlaceSign())
