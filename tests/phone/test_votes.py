"""What the phone remembers of a sign's looks, and how they vote."""

from __future__ import annotations

import pytest

from phone.votes import LIFE_S, MAX_LOOKS, MAX_REGIONS, LineLook, SignVotes, VotedLine
from shared.models.recognition import Recognition
from shared.models.script import Script, ScriptCheck
from shared.models.seen_lines import Look


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time = 100.0

    def monotonic(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def votes(clock: Hands) -> SignVotes:
    return SignVotes(clock)


def line(text: str, *, sure: float = 0.9, height: float = 20.0, readable: bool = True) -> LineLook:
    values = (sure,) * len(text)
    recognition = Recognition(text, sure if text else 0.0, sure if text else 0.0, values)
    return LineLook(Look(recognition, ScriptCheck(Script.LATIN, 1.0, readable)), height)


def see(votes: SignVotes, frame_id: int, *lines: LineLook | None, region_id: int = 1) -> list[VotedLine | None]:
    return votes.vote(region_id=region_id, frame_id=frame_id, captured_us=1000 * frame_id, lines=lines)


def texts(voted: list[VotedLine | None]) -> list[str | None]:
    return [None if found is None else found.look.recognition.text for found in voted]


def test_a_first_look_says_what_it_read(votes: SignVotes) -> None:
    first = line("Salida")
    assert see(votes, 1, first) == [VotedLine(first.look)]


def test_looks_at_a_sign_vote_line_by_line(votes: SignVotes) -> None:
    see(votes, 1, line("SORTlE"), line("Bar"))
    see(votes, 2, line("S0RTIE"), line("Bar"))
    voted = see(votes, 3, line("SORTIE"), line("Bax", sure=0.5))
    assert texts(voted) == ["SORTIE", "Bar"]
    assert all(found is not None and found.agreement is not None for found in voted)


def test_agreement_rises_with_looks_that_say_the_same(votes: SignVotes) -> None:
    see(votes, 1, line("Salida"))
    (same,) = see(votes, 2, line("Salida"))
    assert same is not None
    assert same.agreement == 1.0
    see(votes, 1, line("Entrada"), region_id=2)
    (other,) = see(votes, 2, line("Entnada"), region_id=2)
    assert other is not None
    assert other.agreement is not None
    assert other.agreement < 1.0


def test_a_sign_of_which_more_is_seen_keeps_its_lines_together(votes: SignVotes) -> None:
    see(votes, 1, line("Salida de"), line("emergencla", sure=0.85))
    voted = see(votes, 2, line("Atención"), line("Salida de"), line("emergencia"), line("Empujar"))
    assert texts(voted) == ["Atención", "Salida de", "emergencia", "Empujar"]
    assert [found is not None and found.agreement is not None for found in voted] == [False, True, True, False]


def test_lines_that_read_differently_are_not_mixed(votes: SignVotes) -> None:
    see(votes, 1, line("Push", sure=1.0, height=48.0))
    assert texts(see(votes, 2, line("Salida", sure=0.6))) == ["Salida"]


def test_what_was_too_small_or_in_a_strange_script_has_no_voice(votes: SignVotes) -> None:
    see(votes, 1, None, line("Sallda", readable=False, sure=1.0))
    voted = see(votes, 2, line("Bar"), line("Salida", sure=0.6))
    assert texts(voted) == ["Bar", "Salida"]
    assert [found.agreement for found in voted if found is not None] == [None, None]
    assert texts(see(votes, 3, None, line("Salida", sure=0.6))) == [None, "Salida"]


def test_the_same_look_read_again_counts_once(votes: SignVotes) -> None:
    see(votes, 1, line("Sallda"))
    (again,) = see(votes, 1, line("Salida"))
    assert again == VotedLine(line("Salida").look)


def test_signs_do_not_vote_on_each_other(votes: SignVotes) -> None:
    see(votes, 1, line("Sallda", sure=1.0), region_id=1)
    assert texts(see(votes, 2, line("Salida", sure=0.6), region_id=2)) == ["Salida"]


def test_looks_of_an_earlier_run_of_the_glasses_are_forgotten(votes: SignVotes) -> None:
    see(votes, 500, line("Sallda", sure=1.0))
    (found,) = see(votes, 3, line("Salida", sure=0.6))
    assert found == VotedLine(line("Salida", sure=0.6).look)


def test_looks_are_forgotten_after_a_while(votes: SignVotes, clock: Hands) -> None:
    see(votes, 1, line("Sallda", sure=1.0))
    clock.time += LIFE_S + 1
    (found,) = see(votes, 2, line("Salida", sure=0.6))
    assert found is not None
    assert found.agreement is None
    clock.time += LIFE_S + 1
    see(votes, 9, line("Bar"), region_id=2)
    assert len(votes) == 1


def test_memory_is_bounded(votes: SignVotes) -> None:
    for region_id in range(3 * MAX_REGIONS):
        see(votes, region_id, line("Bar"), region_id=region_id)
    assert len(votes) == MAX_REGIONS
    for frame_id in range(1000, 1000 + 3 * MAX_LOOKS):
        see(votes, frame_id, line("Bar"), region_id=999)
    assert len(votes) == MAX_REGIONS
    # Only so many looks count: the old reading is outvoted as soon as they are all newer.
    see(votes, 2000, line("Barx", sure=1.0, height=48.0), region_id=1000)
    for frame_id in range(2001, 2001 + MAX_LOOKS):
        see(votes, frame_id, line("Bars", sure=0.6, height=12.0), region_id=1000)
    assert texts(see(votes, 3000, line("Bars", sure=0.6, height=12.0), region_id=1000)) == ["Bars"]


def test_an_empty_reading_takes_nothing_away(votes: SignVotes) -> None:
    see(votes, 1, line("Salida"))
    assert texts(see(votes, 2, line(""))) == [""]
    assert texts(see(votes, 3, line("Salida"))) == ["Salida"]
