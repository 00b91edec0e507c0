"""Link profiles are read as written, and a lane lets data out as its profile says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import UsageError
from simulations.radio import LinkProfile
from simulations.radio.lane import MAX_LATE_EVENTS, Lane
from simulations.radio.profile import PROFILE_HELP, Outage, RangeLoss


@pytest.mark.parametrize(
    ("text", "rate", "interval"),
    [
        ("40kBps/30ms", 40_000, 0.03),
        (" 25000Bps / 7.5ms ", 25_000, 0.0075),
        ("0.1MBps/15ms", 100_000, 0.015),
        ("60KBPS/50MS", 60_000, 0.05),
    ],
)
def test_a_profile_is_read_with_its_units(text: str, rate: float, interval: float) -> None:
    profile = LinkProfile.parse(text)
    assert profile.shaped
    assert profile.rate_bytes_per_s == pytest.approx(rate)
    assert profile.interval_s == pytest.approx(interval)
    assert profile.bytes_per_event == pytest.approx(rate * interval)


@pytest.mark.parametrize(
    "text",
    [
        "40kBps/30ms",
        "100kBps/7.5ms",
        "unshaped",
        "unshaped,latency=10ms,out=8s@5s",
        "40kBps/30ms,latency=10ms,jitter=5ms,miss=3%,burst=4,out=8s@5s,out=500ms@0s,range=20s/3s,supervision=4s,"
        "buffers=20,interval=free,seed=7",
    ],
)
def test_a_profile_is_written_as_it_is_read(text: str) -> None:
    assert str(LinkProfile.parse(text)) == text


def test_conditions_are_read_with_their_units_in_any_order() -> None:
    profile = LinkProfile.parse(
        "40kBps/30ms, seed=7, out = 8s@5s, miss=2.5%, burst=4, jitter=0.005s, range=20s/500ms, out=1s@90s, "
        "latency=10ms, supervision=4000ms, buffers=6, interval=free"
    )
    assert profile == LinkProfile(
        rate_bytes_per_s=40_000,
        interval_s=0.03,
        latency_s=0.01,
        jitter_s=0.005,
        miss=0.025,
        burst=4,
        outages=(Outage(5, 8), Outage(90, 1)),
        range_loss=RangeLoss(20, 0.5),
        supervision_s=4,
        buffers=6,
        interval_fixed=False,
        seed=7,
    )


MICROSECONDS = st.integers(10_000, 3_600_000_000).map(lambda number: number / 1e6)


@given(
    latency=st.integers(0, 2_000_000).map(lambda number: number / 1e6),
    miss=st.integers(1, 9000).map(lambda number: number / 1e4),
    stretch=st.floats(1.001, 50),
    outages=st.lists(st.builds(Outage, MICROSECONDS, MICROSECONDS), max_size=4),
    loss=st.none() | st.builds(RangeLoss, MICROSECONDS, MICROSECONDS),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_profile_survives_being_written_and_read(
    latency: float, miss: float, stretch: float, outages: list[Outage], loss: RangeLoss | None, seed: int
) -> None:
    profile = LinkProfile(
        40_000, 0.03, latency_s=latency, miss=miss, burst=stretch / (1 - miss), outages=tuple(outages), range_loss=loss,
        seed=seed,
    )  # fmt: skip
    again = LinkProfile.parse(str(profile))
    assert str(again) == str(profile)
    assert again.latency_s == pytest.approx(latency)
    assert again.miss == pytest.approx(miss)
    assert len(again.outages) == len(outages)
    assert again.seed == seed


def test_an_unshaped_profile_has_no_limit() -> None:
    profile = LinkProfile.parse("Unshaped")
    assert not profile.shaped
    assert profile.bytes_per_event == float("inf")


@pytest.mark.parametrize("text", ["", "fast", "40/30", "40kBps", "30ms/40kBps", "-1kBps/30ms", "40kbps/30ms/2"])
def test_a_profile_that_is_not_understood_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        LinkProfile.parse(text)
    assert "40kBps/30ms" in caught.value.hint


@pytest.mark.parametrize(
    "terms",
    [
        *("speed=3", "latency", "latency=10", "latency=-1ms", "miss=0.03", "miss=3", "burst=x", "out=8s", "out=@5s"),
        *(
            "range=20s",
            "supervision=fast",
            "buffers=2.5",
            "interval=30ms",
            "seed=-1",
            "seed=1e3",
            "",
            "=",
            "LATENCY=1ms",
        ),
    ],
)
def test_a_condition_that_is_not_understood_is_refused_with_a_hint(terms: str) -> None:
    with pytest.raises(UsageError) as caught:
        LinkProfile.parse(f"40kBps/30ms,{terms}")
    assert "latency=10ms" in caught.value.hint


def test_a_condition_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="twice"):
        LinkProfile.parse("40kBps/30ms,seed=1,seed=2")


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ("unshaped,miss=3%", "no connection events"),
        ("40kBps/30ms,burst=3", "need a share"),
        ("40kBps/30ms,miss=50%,burst=1.5", "out of range"),  # chance alone makes runs of 2
        ("40kBps/300ms,supervision=600ms", "out of range"),
        ("40kBps/30ms," + ",".join(["out=1s@1s"] * 33), "too many"),
    ],
)
def test_conditions_that_do_not_go_together_are_refused(terms: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        LinkProfile.parse(terms)


@pytest.mark.parametrize(
    "text",
    [
        *("0kBps/30ms", "50MBps/30ms", "40kBps/5ms", "40kBps/5000ms", "unshaped,latency=3s", "unshaped,jitter=3s"),
        *("40kBps/30ms,miss=95%", "40kBps/30ms,miss=3%,burst=2000", "unshaped,out=5ms@1s", "unshaped,out=1s@9999s"),
        *("unshaped,range=0s/1s", "unshaped,range=1s/9999s", "unshaped,supervision=50ms", "unshaped,supervision=33s"),
        *("unshaped,buffers=0", "unshaped,buffers=256", "unshaped,seed=9999999999999999999"),
    ],
)
def test_numbers_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="out of range"):
        LinkProfile.parse(text)


def test_every_condition_is_explained_where_profiles_are_asked_for() -> None:
    written = str(LinkProfile.parse("40kBps/30ms,latency=10ms,jitter=5ms,miss=3%,burst=4,out=8s@5s,range=20s/3s"))
    written += str(LinkProfile.parse("unshaped,supervision=4s,buffers=20,interval=free,seed=7"))
    for name in re.findall(r"(\w+)=", written):
        assert f"{name}=" in PROFILE_HELP % ()
        assert f"``{name}=" in (LinkProfile.__doc__ or "")


def test_half_a_profile_is_refused() -> None:
    with pytest.raises(UsageError):
        LinkProfile(rate_bytes_per_s=40_000)


PROFILE = LinkProfile(rate_bytes_per_s=40_000, interval_s=0.03)
"""1200 bytes an event."""


def test_nothing_leaves_before_the_next_connection_event() -> None:
    lane: Lane[str] = Lane()
    lane.push("a", 100, event=7)
    assert lane.release(PROFILE, event=7) == []
    assert lane.release(PROFILE, event=8) == ["a"]


def test_packets_leave_in_order_and_no_more_than_an_event_carries() -> None:
    lane: Lane[int] = Lane()
    for number in range(10):
        lane.push(number, 251, event=0)
    assert lane.release(PROFILE, event=1) == [0, 1, 2, 3]
    # 196 bytes were left over: they count towards the packet at the head.
    assert lane.release(PROFILE, event=2) == [4, 5, 6, 7, 8]


def test_an_idle_lane_saves_nothing() -> None:
    lane: Lane[int] = Lane()
    lane.push(0, 10, event=0)
    assert lane.release(PROFILE, event=1) == [0]
    for number in range(10):
        lane.push(number, 251, event=100)
    assert len(lane.release(PROFILE, event=101)) == 4


def test_time_during_which_the_peer_cannot_take_data_is_not_paid_back() -> None:
    lane: Lane[int] = Lane()
    for number in range(10):
        lane.push(number, 251, event=0)
    lane.hold(event=50)
    assert len(lane.release(PROFILE, event=51)) == 4


def test_events_missed_by_a_slow_machine_are_granted_up_to_a_bound() -> None:
    lane: Lane[int] = Lane()
    for number in range(100):
        lane.push(number, 251, event=0)
    assert len(lane.release(PROFILE, event=1000)) == MAX_LATE_EVENTS * 1200 // 251


def test_an_unshaped_lane_lets_everything_out() -> None:
    lane: Lane[int] = Lane()
    for number in range(100):
        lane.push(number, 251, event=0)
    assert lane.release(LinkProfile(), event=0) == list(range(100))
    assert len(lane) == 0


@given(
    rate=st.floats(min_value=500, max_value=500_000),
    interval=st.floats(min_value=0.0075, max_value=0.2),
    sizes=st.lists(st.integers(min_value=1, max_value=251), min_size=1, max_size=200),
)
def test_a_busy_lane_keeps_its_rate_and_loses_nothing(rate: float, interval: float, sizes: list[int]) -> None:
    profile = LinkProfile(rate_bytes_per_s=rate, interval_s=interval)
    lane: Lane[int] = Lane()
    for number, size in enumerate(sizes):
        lane.push(number, size, event=0)
    left: list[int] = []
    event = 0
    while len(lane):
        event += 1
        released = lane.release(profile, event=event)
        assert sum(sizes[number] for number in released) < profile.bytes_per_event + 251
        left += released
        sent = sum(sizes[number] for number in left)
        assert sent <= event * profile.bytes_per_event + 1e-6
        if len(lane):
            assert sent > event * profile.bytes_per_event - 251
    assert left == list(range(len(sizes)))
