"""Networks: their text, their presets, and how calls go on them."""

from __future__ import annotations

import math

import pytest

from phone.cascade.inputs import NetworkKind
from shared.errors import InputError, UsageError
from simulations.energy.radio import RadioKind
from simulations.energy.registry import latin_hypercube, nominal
from simulations.networks.onoff import TwoStates
from simulations.networks.path import INITIAL_WINDOW_BYTES, NOTICE_S, Failure, NetworkPath
from simulations.networks.presets import BLE_PROFILES, PROFILES, ble_profile, network_profile
from simulations.networks.profile import Access, NetworkProfile, OnOff

PLAIN = "lte:8/80Mbps,rtt=100ms"
"""1 and 10 MB/s, without anything random."""


def test_the_text_of_a_profile_reads_back() -> None:
    text = "lte:11/30Mbps,rtt=50ms,jitter=0.35,spread=0.5,fade=120s/4s@10%,out=900s/10s,fail=0.4%,price=0.01/MB,seed=7"
    profile = NetworkProfile.parse(text)
    assert str(profile) == text
    assert profile.up_bytes_per_s == 11e6 / 8
    assert profile.rtt_s == 0.05
    assert profile.fade == OnOff(120, 4)
    assert profile.metered


@pytest.mark.parametrize("name", PROFILES)
def test_presets_read_back_whatever_the_constants(name: str) -> None:
    for constants in (nominal(), *latin_hypercube(1, 5)):
        profile = network_profile(name, constants, seed=3)
        assert NetworkProfile.parse(str(profile)) == profile


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dialup:1/1Mbps",
        "lte",
        "lte:1Mbps",
        "lte:0/1Mbps",
        "offline:1/1Mbps",
        "lte:1/1Mbps,rtt",
        "lte:1/1Mbps,rtt=1ms,rtt=2ms",
        "lte:1/1Mbps,fade=1s/1s",
        "lte:1/1Mbps,out=1s/1s@5%",
        "lte:1/1Mbps,out=0s/1s",
        "lte:1/1Mbps,fail=101%",
        "lte:1/1Mbps,jitter=nan",
        "lte:1/1Mbps,seed=-1",
        "lte:1/1Mbps,weather=fine",
    ],
)
def test_texts_that_are_no_network_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        NetworkProfile.parse(text)


def test_unknown_presets_are_errors_that_list_them() -> None:
    with pytest.raises(UsageError, match="train"):
        network_profile("pigeon", nominal())
    with pytest.raises(UsageError, match="ble-mid"):
        ble_profile("string")


@pytest.mark.parametrize(
    ("name", "kind", "radio", "metered"),
    [
        ("wifi", NetworkKind.WIFI, RadioKind.WIFI, False),
        ("lte", NetworkKind.CELLULAR, RadioKind.LTE, False),
        ("lte-weak", NetworkKind.CELLULAR, RadioKind.LTE_WEAK, False),
        ("5g", NetworkKind.CELLULAR, RadioKind.FIVE_G, False),
        ("5g-mmwave", NetworkKind.CELLULAR, RadioKind.MMWAVE, False),
        ("offline", NetworkKind.NONE, None, False),
        ("lossy", NetworkKind.WIFI, RadioKind.WIFI, False),
        ("metered-roaming", NetworkKind.CELLULAR, RadioKind.LTE, True),
        ("captive", NetworkKind.CAPTIVE, RadioKind.WIFI, False),
        ("train", NetworkKind.CELLULAR, RadioKind.LTE, False),
    ],
)
def test_a_preset_is_what_the_phone_would_call_it(
    name: str, kind: NetworkKind, radio: RadioKind | None, metered: bool
) -> None:
    path = NetworkPath(network_profile(name, nominal()))
    assert (path.kind(0.0), path.radio, path.profile.metered) == (kind, radio, metered)


def test_every_link_preset_is_a_profile_of_the_radio() -> None:
    rates = {name: ble_profile(name).rate_bytes_per_s for name in BLE_PROFILES}
    assert rates == {"ble-good": 100e3, "ble-mid": 40e3, "ble-poor": 5e3}


def test_a_small_call_takes_a_round_trip_its_bytes_and_the_cloud_s_time() -> None:
    exchange = NetworkPath(NetworkProfile.parse(PLAIN)).call(5.0, 10_000, 0.2, 1_000)
    assert exchange.failure is None
    assert exchange.seconds == pytest.approx(0.1 + 0.01 + 0.2 + 0.0001)
    assert (exchange.request.air_start_s, exchange.request.air_seconds) == (5.0, pytest.approx(0.01))
    assert (exchange.bytes_up, exchange.bytes_down) == (10_000, 1_000)


def test_a_new_connection_costs_two_round_trips_more() -> None:
    path = NetworkPath(NetworkProfile.parse(PLAIN))
    warm, fresh = path.call(0.0, 10_000, 0.2, 1_000), path.call(0.0, 10_000, 0.2, 1_000, fresh=True)
    assert fresh.seconds - warm.seconds == pytest.approx(0.2)


def test_a_picture_waits_for_slow_start_and_a_strip_does_not() -> None:
    path = NetworkPath(NetworkProfile.parse("wifi:800/800Mbps,rtt=100ms"))  # 10 MB on their way in a round trip
    strip = path.request(0.0, INITIAL_WINDOW_BYTES, path.next_call())
    picture = path.request(0.0, 7 * INITIAL_WINDOW_BYTES, path.next_call())
    assert strip.seconds == pytest.approx(0.05 + INITIAL_WINDOW_BYTES / 100e6)
    # One window, two, and four: two acknowledgements are waited for.
    assert picture.seconds == pytest.approx(0.05 + 0.2 + 4 * INITIAL_WINDOW_BYTES / 100e6)


def test_nothing_leaves_offline_and_that_is_known_at_once() -> None:
    exchange = NetworkPath(NetworkProfile.parse("offline")).call(1.0, 1000, 0.1, 100)
    assert exchange.failure is Failure.NO_NETWORK
    assert exchange.seconds < 0.01
    assert exchange.bytes_up == 0


def test_a_captive_portal_is_known_after_the_handshake_and_sees_no_strip() -> None:
    path = NetworkPath(NetworkProfile.parse("captive:8/80Mbps,rtt=100ms"))
    assert not path.covered(1.0)
    exchange = path.call(1.0, 1000, 0.1, 100)
    assert exchange.failure is Failure.CAPTIVE
    assert exchange.seconds == pytest.approx(0.2)
    assert exchange.bytes_up == 0


def test_a_call_that_takes_longer_than_its_deadline_fails_at_the_deadline() -> None:
    path = NetworkPath(NetworkProfile.parse(PLAIN))
    for server in (0.96, 5.0):
        exchange = path.call(0.0, 1000, server, 1000, timeout_s=1.0)
        assert (exchange.failure, exchange.seconds) == (Failure.TIMEOUT, 1.0)
    assert path.call(0.0, 1000, 0.85, 1000, timeout_s=1.0).failure is None


def test_a_share_of_the_calls_breaks_off_on_the_way() -> None:
    path = NetworkPath(NetworkProfile.parse(f"{PLAIN},fail=20%"), seed=4)
    exchanges = [path.call(float(number), 100_000, 0.1, 1000) for number in range(500)]
    broken = [exchange for exchange in exchanges if exchange.failure is Failure.RESET]
    assert 70 < len(broken) < 130  # a hundred expected, three standard deviations of nine
    assert any(exchange.reply is None for exchange in broken)
    assert any(exchange.reply is not None for exchange in broken)
    assert all(exchange.bytes_up <= 100_000 for exchange in broken)


def test_a_dead_spot_stalls_a_call_and_the_phone_notices_after_a_while() -> None:
    path = NetworkPath(NetworkProfile.parse(f"{PLAIN},out=60s/20s"), seed=2)
    lost = path.coverage.next_change_s(0.0)
    back = path.coverage.next_change_s(lost)
    assert back - lost > NOTICE_S + 1
    assert path.covered(lost - 0.01)
    assert not path.covered(lost + 0.01)
    stalled = path.request(lost + 0.5, 1000, path.next_call())
    assert stalled.failure is None
    assert stalled.seconds == pytest.approx(back - lost - 0.5 + 0.05 + 0.001)
    assert path.kind(lost + 0.5) is NetworkKind.CELLULAR
    assert path.kind(lost + NOTICE_S) is NetworkKind.NONE
    assert path.request(lost + NOTICE_S, 1000, path.next_call()).failure is Failure.NO_NETWORK
    assert path.kind(back) is NetworkKind.CELLULAR


def test_a_fade_in_the_middle_slows_the_bytes_that_fall_into_it() -> None:
    path = NetworkPath(NetworkProfile.parse("lte:8/80Mbps,fade=30s/60s@10%"), seed=5)
    begins = path.fade.next_change_s(0.0)
    assert path.fade.next_change_s(begins) - begins > 1.0
    # Half a second at full rate, then the rest at a tenth.
    leg = path.request(begins - 0.5, 600_000, path.next_call())
    assert leg.seconds == pytest.approx(0.5 + 1.0)


def test_two_states_last_as_long_as_they_should_on_average() -> None:
    states = TwoStates(OnOff(30.0, 10.0), 1, "coverage")
    bad = sum(states.bad(float(second)) for second in range(40_000)) / 40_000
    assert bad == pytest.approx(0.25, abs=0.03)
    assert not TwoStates(None, 1, "coverage").bad(1e6)
    assert TwoStates(None, 1, "coverage").next_change_s(0.0) == math.inf


def test_the_same_seed_gives_the_same_calls_and_another_gives_others() -> None:
    def seconds(seed: int) -> list[float]:
        path = NetworkPath(network_profile("train", nominal()), seed)
        return [path.call(7.0 * number, 8000, 0.1, 500, timeout_s=5.0).seconds for number in range(50)]

    assert seconds(1) == seconds(1)
    assert seconds(1) != seconds(2)


def test_asking_about_the_future_changes_nothing() -> None:
    profile = network_profile("train", nominal())
    asked, silent = NetworkPath(profile, 1), NetworkPath(profile, 1)
    asked.kind(80_000.0)
    assert [asked.covered(float(second)) for second in range(500)] == [silent.covered(float(s)) for s in range(500)]


def test_impossible_calls_are_refused() -> None:
    path = NetworkPath(NetworkProfile.parse(PLAIN))
    for at, up, server, timeout in ((math.nan, 1, 0.1, 1.0), (-1.0, 1, 0.1, 1.0), (0.0, -1, 0.1, 1.0)):
        with pytest.raises(InputError):
            path.call(at, up, server, 1, timeout_s=timeout)
    for server, timeout in ((math.nan, 1.0), (-0.1, 1.0), (0.1, 0.0)):
        with pytest.raises(InputError):
            path.call(0.0, 1, server, 1, timeout_s=timeout)


def test_an_offline_profile_carries_nothing() -> None:
    with pytest.raises(UsageError):
        NetworkProfile(Access.OFFLINE, up_bytes_per_s=1.0)
