"""From what happened in a run to its numbers. Everything is per day where it grows with the days."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from shared.wire.session import PROBE_S
from simulations.energy.ble import BleEnd
from simulations.energy.constants import Constants
from simulations.energy.radio import RadioKind, radio_model
from simulations.networks.presets import ble_profile
from simulations.sweep.accounts import Account, bluetooth_joules, carried, worn
from simulations.sweep.arms import Arm, Design
from simulations.sweep.bluetooth import IDLE_EXCHANGE_BYTES
from simulations.sweep.devices import Pair
from simulations.sweep.outcomes import Shown
from simulations.sweep.plan import Plan
from simulations.sweep.product import Outcome
from simulations.sweep.simple import STILL_ENCODE_S, SimpleOutcome

Metrics: TypeAlias = dict[str, "float | int | dict[str, float] | dict[str, int] | None"]

PERCENTILES: Final = (0.5, 0.95)


@dataclass(frozen=True, slots=True)
class Run:
    """What the metrics are made of."""

    arm: Arm
    plan: Plan
    constants: Constants
    outcome: Outcome | SimpleOutcome


def metrics(run: Run) -> Metrics:
    """All numbers of a run; the names are those of the results and of the report."""
    outcome = run.outcome
    shown = outcome.wearer.shown if isinstance(outcome, Outcome) else outcome.shown
    numbers: Metrics = {}
    numbers |= _answers(run.plan, shown)
    numbers |= _traffic(run)
    numbers |= _energy(run)
    if isinstance(outcome, Outcome):
        numbers["decisions"] = dict(sorted(outcome.decisions.items()))
    return numbers


def infeasible(arm: Arm, constants: Constants) -> str | None:
    """Why a design cannot run on these glasses; None where it can."""
    glasses = Pair.of(arm, constants).glasses
    if not glasses.runs_models and arm.design.detects:
        return "these glasses cannot hold a model"
    if not glasses.runs_models and arm.design is Design.VIDEO:
        return "these glasses have no video encoder"
    return None


def _answers(plan: Plan, shown: Mapping[int, Shown]) -> Metrics:
    """Every sign that came into view counts, those too that the glasses remember from a moment ago."""
    answered, first_right, final_right, right_in_view, in_time, from_cloud = 0, 0, 0, 0, 0, 0
    replies: list[float] = []
    firsts: list[float] = []
    finals: list[float] = []
    for region in plan.signs:
        one = shown.get(region)
        if one is None:
            continue
        answered += one.first_at is not None
        first_right += one.first_right
        final_right += one.final_right
        right_in_view += one.right_in_view
        in_time += one.in_time
        from_cloud += one.from_cloud
        if one.replied_after is not None:
            replies.append(one.replied_after)
        if one.first_after is not None and one.final_after is not None:
            firsts.append(one.first_after)
            finals.append(one.final_after)
    # A sign seen again within a minute shows at once what it showed before.
    for region in plan.remembered.values():
        one = shown.get(region)
        if one is None or one.first_at is None:
            continue
        answered += 1
        in_time += 1
        first_right += one.final_right
        final_right += one.final_right
        right_in_view += one.final_right
    count = max(plan.encounters, 1)
    return {
        "signs": plan.encounters / plan.days,
        "answered_share": answered / count,
        "in_time_share": in_time / count,
        "right_first_share": first_right / count,
        "right_final_share": final_right / count,
        "right_in_view_share": right_in_view / count,
        "cloud_shown_share": from_cloud / count,
        **{f"reply_s_p{round(100 * q)}": quantile(replies, q) for q in PERCENTILES},
        **{f"first_s_p{round(100 * q)}": quantile(firsts, q) for q in PERCENTILES},
        **{f"final_s_p{round(100 * q)}": quantile(finals, q) for q in PERCENTILES},
    }


def _traffic(run: Run) -> Metrics:
    outcome, sent, days = run.outcome, run.outcome.sent, run.plan.days
    if isinstance(outcome, Outcome):
        pictures, lost, asked = outcome.wearer.strips, outcome.wearer.lost, outcome.asked
        phone_runs, glasses_runs, ledger = outcome.phone_work.runs, 0, outcome.bytes_in_ledger
    else:
        pictures, lost, asked = outcome.stills, outcome.lost, outcome.asked
        phone_runs, glasses_runs, ledger = 0, outcome.glasses_work.runs, 0
    up, down = _link_bytes(run)
    share = asked / pictures if pictures else 0.0
    return {
        "pictures": pictures / days,
        "escalated_share": 1.0 if run.arm.design is Design.VIDEO else share,
        "link_up_bytes": up / days,
        "link_down_bytes": down / days,
        "bytes_out": sent.up_bytes / days,
        "bytes_in": sent.down_bytes / days,
        "cloud_calls": sent.calls / days,
        "strips_out": sent.strips / days,
        "frames_out": sent.frames / days,
        "texts_out": sent.texts / days,
        "private_out": sent.private / days,
        "cost_eur": sent.cost / days,
        "lost": lost / days,
        "phone_ocr_runs": phone_runs / days,
        "glasses_ocr_runs": glasses_runs / days,
        "ledger_bytes_out": ledger / days,
    }


def _link_bytes(run: Run) -> tuple[float, float]:
    """Over Bluetooth LE, with headers and the probes of an idle link, up from the glasses and down to them."""
    outcome = run.outcome
    if isinstance(outcome, SimpleOutcome):
        exchanges = 0.0 if run.arm.design is Design.GLASSES else run.plan.wear.awake_seconds / PROBE_S
        up, down = outcome.link_up_bytes, outcome.link_down_bytes
    else:
        exchanges = outcome.bluetooth.idle_exchanges
        up, down = outcome.bluetooth.traffic.up_bytes, outcome.bluetooth.traffic.down_bytes
    idle = exchanges * IDLE_EXCHANGE_BYTES / 2
    return up + idle, down + idle


def _energy(run: Run) -> Metrics:
    """Joules a day by component, and how long each battery lasts at the mean rate of the time awake."""
    constants, outcome, design = run.constants, run.outcome, run.arm.design
    pair = Pair.of(run.arm, constants)
    glasses, phone = Account(pair.glasses), Account(pair.phone)
    seconds = run.plan.wear.awake_seconds
    worn(glasses, constants, seconds=seconds)
    carried(phone, constants, seconds=seconds)
    _compute(run, glasses, phone)
    miss = ble_profile(run.arm.link).miss
    interval = constants["ble.interval_seconds"]
    crossed = math.fsum(_link_bytes(run)) / (1 - miss)
    if design is not Design.GLASSES:  # nothing else needs the phone
        for end, account in ((BleEnd.GLASSES, glasses), (BleEnd.PHONE, phone)):
            joules = bluetooth_joules(end, constants, seconds=seconds, interval_s=interval, carried=crossed)
            account.spend("bluetooth", joules)
    # The nights, on the charger and without traffic, cost nothing above idle; so the time awake bears all of it.
    phone.spend("internet", outcome.internet.radios.joules(run.plan.wear.seconds))
    if isinstance(outcome, SimpleOutcome):
        _pictures(outcome, design, constants, glasses, phone, seconds)
    days = run.plan.days
    return {
        "glasses_joules": {part: joules / days for part, joules in glasses.parts.items()},
        "phone_joules": {part: joules / days for part, joules in phone.parts.items()},
        "glasses_total_joules": glasses.joules / days,
        "phone_total_joules": phone.joules / days,
        "phone_added_joules": phone.added_joules / days,
        "glasses_hours": glasses.hours(seconds),
        "phone_hours": phone.hours(seconds),
        "glasses_battery_share": glasses.joules / days / pair.glasses.battery_joules,
        "phone_battery_share": phone.joules / days / pair.phone.battery_joules,
        "awake_hours": seconds / 3600 / days,
    }


def _compute(run: Run, glasses: Account, phone: Account) -> None:
    outcome = run.outcome
    if isinstance(outcome, Outcome):
        glasses.spend("detection", outcome.wearer.work.seconds * glasses.device.compute_watts)
        phone.spend("reading", outcome.phone_work.seconds * phone.device.compute_watts)
    else:
        glasses.spend("detection", outcome.detections * glasses.device.compute_watts)
        glasses.spend("reading", outcome.glasses_work.seconds * glasses.device.compute_watts)


def _pictures(
    outcome: SimpleOutcome, design: Design, constants: Constants, glasses: Account, phone: Account, seconds: float
) -> None:
    """Encoding, and for video the Wi-Fi between glasses and phone."""
    if design is Design.STILLS:
        glasses.spend("encoder", outcome.stills * STILL_ENCODE_S * glasses.device.encoder_watts)
    if design is Design.VIDEO:
        filmed = outcome.stream_seconds
        glasses.spend("encoder", filmed * glasses.device.encoder_watts)
        glasses.spend("wifi", filmed * constants["glasses.wifi_watts"])
        glasses.spend("wifi", (seconds - filmed) * constants["glasses.wifi_idle_watts"])
        wifi = radio_model(RadioKind.WIFI, constants)
        received = filmed * constants["video.bytes_per_second"]
        # While the stream goes on over Wi-Fi, the account of the internet has the radio on already.
        alone = filmed - outcome.stream_wifi_seconds
        phone.spend("wifi", alone * (wifi.active_watts - wifi.idle_watts) + received * wifi.down_joules_per_byte)


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least `share` of them do not exceed (nearest rank); None for none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
