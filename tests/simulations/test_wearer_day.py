"""The wearer's day: where time goes, which signs come into view, and which traces stand for them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from statistics import median

import pytest

from shared.errors import InputError, UsageError
from simulations.energy.registry import nominal
from simulations.networks.presets import PROFILES
from simulations.traces.records import CloudTrace, Confidence, SignTrace, TracePart, View
from simulations.world.choice import TraceChooser
from simulations.world.day import DAY_S, MAX_DAYS, Encounter, Wear, wear
from simulations.world.destinations import DESTINATIONS, Destination, destination
from simulations.world.habits import Activity

LISBON = DESTINATIONS["lisbon"]


@pytest.fixture(scope="module")
def run() -> Wear:
    return wear(LISBON, nominal(), seed=1, days=3)


def test_a_tourist_s_day_has_some_hundred_signs() -> None:
    counts = [len(wear(LISBON, nominal(), seed).encounters) for seed in range(5)]
    assert min(counts) > 300
    assert max(counts) < 1200
    assert len(set(counts)) > 1


def test_segments_fill_the_days_without_gap(run: Wear) -> None:
    assert run.segments[0].start_s == 0
    assert run.seconds == 3 * DAY_S
    assert all(before.end_s == after.start_s for before, after in itertools.pairwise(run.segments))
    assert all(segment.seconds > 0 for segment in run.segments)
    assert math.fsum(segment.seconds for segment in run.segments) == pytest.approx(3 * DAY_S)


def test_nights_are_for_charging_and_not_for_signs(run: Wear) -> None:
    nights = [segment for segment in run.segments if segment.activity is Activity.NIGHT]
    assert all(night.charging and night.network == "wifi" and not night.awake for night in nights)
    assert run.awake_seconds < 3 * 18 * 3600
    for encounter in run.encounters:
        segment = run.segment_at(encounter.time_s)
        assert (segment.activity, segment.place) == (encounter.activity, encounter.place)
        assert segment.awake


def test_every_network_of_the_day_is_a_preset(run: Wear) -> None:
    assert {segment.network for segment in run.segments} <= set(PROFILES)
    assert all(segment.network == "train" for segment in run.segments if segment.activity is Activity.TRANSIT)


def test_encounters_come_in_order_and_are_counted(run: Wear) -> None:
    assert [encounter.number for encounter in run.encounters] == list(range(len(run.encounters)))
    times = [encounter.time_s for encounter in run.encounters]
    assert times == sorted(times)


def test_signs_of_one_view_come_together_and_are_different_signs(run: Wear) -> None:
    for _, group in itertools.groupby(run.encounters, key=lambda encounter: encounter.view):
        view = list(group)
        assert len({(each.time_s, each.place, each.light, each.dwell_s) for each in view}) == 1
        assert len({each.sign for each in view}) == len(view)
    views = run.encounters[-1].view + 1
    assert 1.5 < len(run.encounters) / views < 2.5


def test_a_sign_has_one_place_and_one_language_for_good(run: Wear) -> None:
    known: dict[int, tuple[int, str]] = {}
    seen: Counter[int] = Counter()
    for encounter in run.encounters:
        assert known.setdefault(encounter.sign, (encounter.place, encounter.language)) == (
            encounter.place,
            encounter.language,
        )
        assert encounter.seen_before == seen[encounter.sign]
        seen[encounter.sign] += 1
    assert 0.1 < sum(encounter.seen_before > 0 for encounter in run.encounters) / len(run.encounters) < 0.7


def test_places_are_returned_to_more_often_where_the_habit_says_so() -> None:
    constants = nominal()
    for share, wanted in ((0.0, 0), (1.0, 1)):
        run = wear(LISBON, constants.replaced("walk.return_share", share), seed=1)
        walks = [segment for segment in run.segments if segment.activity is Activity.WALK]
        assert len({walk.place for walk in walks}) == (1 if wanted else len(walks))


def test_languages_are_mixed_as_the_destination_says(run: Wear) -> None:
    signs = {encounter.sign: encounter.language for encounter in run.encounters}
    shares = Counter(signs.values())
    assert shares["pt"] / len(signs) == pytest.approx(0.7, abs=0.05)
    assert shares["en"] / len(signs) == pytest.approx(0.15, abs=0.04)


def test_light_follows_the_time_of_day() -> None:
    run = wear(LISBON, nominal().replaced("day.sunset_hours", 18.0), seed=1)
    outdoors = [encounter for encounter in run.encounters if encounter.activity is Activity.WALK]
    for encounter in outdoors:
        hours = encounter.time_s / 3600
        expected = {"day", "shade"} if hours < 17.25 else {"dusk"} if hours < 18.75 else {"night"}
        assert encounter.light in expected
    assert {encounter.light for encounter in outdoors} >= {"day", "shade", "night"}
    assert all(each.light in {"shade", "dusk"} for each in run.encounters if each.activity is Activity.RESTAURANT)


def test_a_longer_view_gets_more_looks(run: Wear) -> None:
    constants = nominal()
    for encounter in run.encounters:
        assert encounter.looks == min(1 + int(encounter.dwell_s / constants["view.look_seconds"]), 5)
        assert encounter.gone_s == encounter.time_s + encounter.dwell_s
    walking = [encounter.dwell_s for encounter in run.encounters if encounter.activity is Activity.WALK]
    assert median(walking) == pytest.approx(constants["walk.dwell_seconds"], rel=0.2)


def test_the_same_seed_gives_the_same_days_and_another_others(run: Wear) -> None:
    assert wear(LISBON, nominal(), seed=1, days=3) == run
    assert wear(LISBON, nominal(), seed=2, days=3) != run


def test_more_signs_leave_the_way_and_the_visits_as_they_were() -> None:
    constants = nominal()
    busy = wear(LISBON, constants.replaced("walk.views_per_minute", 3.0), seed=1)
    assert busy.segments == wear(LISBON, constants, seed=1).segments
    assert len(busy.encounters) > len(wear(LISBON, constants, seed=1).encounters)


def test_a_run_of_no_days_or_of_too_many_is_refused() -> None:
    for days in (0, MAX_DAYS + 1):
        with pytest.raises(InputError):
            wear(LISBON, nominal(), 1, days)


def test_destinations_are_found_by_name_and_can_be_restricted() -> None:
    assert destination("tokyo").languages[0][0] == "ja"
    with pytest.raises(UsageError, match="lisbon"):
        destination("atlantis")
    halved = LISBON.restricted({"pt", "en"})
    assert dict(halved.languages) == pytest.approx({"pt": 0.7 / 0.85, "en": 0.15 / 0.85})
    with pytest.raises(InputError):
        LISBON.restricted({"ja"})
    with pytest.raises(ValueError, match="nowhere"):
        Destination("nowhere", (("pt", 0.5),))


def trace(sign: int, phrase: str, language: str, light: str, look: int = 0) -> SignTrace:
    nothing = CloudTrace("", "", "", None, 0, Confidence(), 1.0, 1, False, False, {})
    return SignTrace(
        sign=sign,
        look=look,
        part=TracePart.TEST,
        phrase=phrase,
        language=language,
        truth=phrase,
        view=View(light),
        lines=1,
        strip_bytes=1,
        still_bytes=None,
        detection_ms=1.0,
        local={},
        cloud=nothing,
        source="test",
    )


TRACES = [
    trace(number * 10 + index, f"p{number}", "pt" if number < 8 else "en", light, look)
    for number in range(12)
    for index, light in enumerate(("day", "night", "day"))
    for look in (1, 0)
]


def met(sign: int, language: str = "pt", light: str = "day") -> Encounter:
    return Encounter(0, 0.0, 0, sign, 1, language, light, 3.0, 1, Activity.WALK, 0)


def test_a_sign_is_the_same_phrase_in_any_light_and_the_same_trace_in_one() -> None:
    chooser = TraceChooser(TRACES)
    for sign in range(50):
        by_day, at_night = chooser.choose(met(sign)), chooser.choose(met(sign, light="night"))
        assert by_day == chooser.choose(met(sign))
        assert by_day.phrase == at_night.phrase
        assert (by_day.view.light, at_night.view.light) == ("day", "night")
        assert by_day.language == "pt"


def test_signs_are_spread_over_all_phrases_of_their_language() -> None:
    chooser = TraceChooser(TRACES)
    assert {chooser.choose(met(sign)).phrase for sign in range(200)} == {f"p{number}" for number in range(8)}
    assert {chooser.choose(met(sign, "en")).phrase for sign in range(200)} == {f"p{number}" for number in range(8, 12)}


def test_the_order_of_the_traces_does_not_matter() -> None:
    one, other = TraceChooser(TRACES), TraceChooser(reversed(TRACES))
    assert all(one.choose(met(sign)) == other.choose(met(sign)) for sign in range(50))


def test_looks_follow_each_other_and_begin_again() -> None:
    chooser = TraceChooser(TRACES)
    assert [chooser.choose(met(5), look).look for look in range(4)] == [0, 1, 0, 1]
    assert len({chooser.choose(met(5), look).sign for look in range(4)}) == 1


def test_a_light_that_was_not_rendered_is_replaced_by_the_nearest() -> None:
    chooser = TraceChooser(TRACES)
    assert chooser.choose(met(3, light="shade")).view.light == "day"
    assert chooser.choose(met(3, light="dusk")).view.light == "night"
    assert TraceChooser([trace(1, "p", "pt", "photo")]).choose(met(3)).view.light == "photo"


def test_a_language_without_traces_is_an_error_and_not_another_language() -> None:
    chooser = TraceChooser(TRACES)
    assert chooser.languages == {"pt", "en"}
    with pytest.raises(InputError, match="'ja'"):
        chooser.choose(met(1, "ja"))
    with pytest.raises(InputError):
        TraceChooser([])
