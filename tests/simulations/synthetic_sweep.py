"""Results of a sweep out of a few formulas: plausible in shape, simulated by nobody.

Nothing that is read off these results says anything about the product.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from simulations.energy.constants import Constants
from simulations.energy.registry import CONSTANTS, latin_hypercube, nominal
from simulations.sweep.appendix import ranges

DESIGNS: Final = ("glasses", "phone", "cloud-video", "cloud-stills", "split", "hybrid", "table")
_QUALITY: Final = {
    "glasses": 0.58, "phone": 0.66, "cloud-video": 0.74, "cloud-stills": 0.76, "split": 0.78, "hybrid": 0.775,
    "table": 0.31,
}  # fmt: skip
_PICTURES: Final = {"cloud-video": 600_000, "cloud-stills": 700, "split": 1500, "hybrid": 260}
_ASKED: Final = {"cloud-video": 1.0, "cloud-stills": 1.0, "split": 1.0, "hybrid": 0.17}
_NETWORKS: Final = {"day": 0.93, "wifi": 1.0, "lte": 0.97, "offline": 0.0}
_POLICIES: Final = {
    "cascade": (0.17, 0.0),
    "confidence": (0.24, -0.012),
    "random": (0.2, -0.05),
    "oracle": (0.11, 0.02),
}
_SWUNG: Final = (
    "lte.tail_watts", "lte.tail_seconds", "phone-mid.speed", "phone.base_watts", "glasses.camera_duty",
    "walk.dwell_seconds", "net.lte.rtt_seconds",
)  # fmt: skip


def synthetic_results(
    *, samples: int = 12, networks: tuple[str, ...] = tuple(_NETWORKS), swung: bool = True, seed: int = 1
) -> dict[str, Any]:
    """A document as `results.json` holds it; equal arguments give equal documents."""
    rng = np.random.default_rng(seed)
    sets = [nominal(), *(latin_hypercube(seed, samples) if samples else [])]
    cells = [(network, design, "cascade") for network in networks for design in DESIGNS]
    cells += [(networks[0], "hybrid", policy) for policy in _POLICIES if policy != "cascade"]
    runs = [
        _run(design, network, number, constants, rng, policy)
        for number, constants in enumerate(sets)
        for network, design, policy in cells
    ]
    document: dict[str, Any] = {
        "version": 1,
        "seed": seed,
        "days": 1,
        "hours": None,
        "samples": samples,
        "constants": [dict(each.values) for each in sets],
        "runs": runs,
        "arms": [],
        "traces": {
            "signs": 900,
            "digest": "0123456789abcdef",
            "seed": 7,
            "machine": "a machine <that> was not there",
            "packs": {"ocr-small-rec": "0"},
            "command": "wayword-sim traces --seed 7",
            "notes": "",
        },
        "ocr_runs_per_charge": [
            {"device": "glasses-mcu", "runs": {"small": [0.0, 0.0, 0.0]}},
            {"device": "phone-mid", "runs": {"small": [1.2e6, 0.7e6, 2.1e6]}},
        ],
        "speeds": {"small": 41.5},
        "ranges": ranges(),
        "counts": {
            "signs": 640,
            "phrases": 400,
            "languages": {"de": 200, "ja": 300, "pt": 400},
            "lights": {"day": 500, "night": 400},
        },
        "cascade": [_curves("small"), _curves("tiny")],
    }
    if swung:
        document["swings"] = [
            {
                **_run("hybrid", networks[0], 0, nominal().replaced(name, getattr(CONSTANTS[name], end)), rng),
                "changed": {"constant": name, "end": end},
            }
            for name in _SWUNG
            for end in ("low", "high")
        ]
    return document


def _run(
    design: str, network: str, sample: int, constants: Constants, rng: np.random.Generator, policy: str = "cascade"
) -> dict[str, Any]:
    online, asked = _NETWORKS[network], _ASKED.get(design, 0.0)
    share, bonus = _POLICIES[policy]
    asked = share if design == "hybrid" else asked
    late = min(0.2, 0.5 / constants["walk.dwell_seconds"])
    quality = _QUALITY[design] - late * (0.5 + asked) + (bonus if design == "hybrid" else 0.0)
    if design in _ASKED and online < 1:
        quality *= online if design != "hybrid" else 0.85 + 0.15 * online
    quality = float(np.clip(quality + rng.normal(0, 0.004), 0.0, 1.0))
    calls = online * _PICTURES.get(design, 0) * (asked / 0.17 if design == "hybrid" else 1.0)
    internet = 0.0
    if calls:
        tails = min(calls, 400.0)
        internet = tails * constants["lte.tail_watts"] * constants["lte.tail_seconds"] + calls * 0.02
    idle = 46_000 * constants["phone.idle_watts"]
    base = 46_000 * constants["phone.base_watts"]
    reads = 0.0 if design in ("glasses", "cloud-video", "cloud-stills", "split") else 1500.0
    reading = reads * 0.05 / constants["phone-mid.speed"] * constants["phone-mid.compute_watts"]
    phone = {"idle": idle, "base": base, "reading": reading, "internet": internet}
    filming = 46_000 * constants["glasses.camera_duty"]
    glasses = {
        "idle": 46_000 * constants["glasses-xr.idle_watts"],
        "camera": filming * constants["glasses-xr.camera_watts"],
        "detection": 300.0 if design not in ("cloud-video", "cloud-stills") else 0.0,
        "reading": 900.0 if design == "glasses" else 0.0,
        "wifi": filming * constants["glasses.wifi_watts"] if design == "cloud-video" else 0.0,
    }
    phone_total, glasses_total = sum(phone.values()), sum(glasses.values())
    first = 0.2 + 0.05 / constants["phone-mid.speed"] + (0.4 if design in ("cloud-stills", "split") else 0.0)
    never = design in ("cloud-video", "cloud-stills", "split") and not online
    return {
        "arm": {
            "design": design,
            "policy": policy if design == "hybrid" else "",
            "network": network,
            "city": "lisbon",
            "phone": "phone-mid",
            "glasses": "glasses-xr",
            "link": "ble-mid",
            "privacy": "allow",
        },
        "sample": sample,
        "why_not": None,
        "metrics": {
            "right_in_view_share": quality,
            "right_final_share": min(1.0, quality + late / 2) if not never else 0.0,
            "first_s_p50": None if never else first,
            "first_s_p95": None if never else 3.1 * first,
            "phone_total_joules": phone_total,
            "phone_added_joules": phone_total - idle - base,
            "phone_joules": phone,
            "phone_hours": constants["phone-mid.battery_joules"] / phone_total * 12.8,
            "glasses_total_joules": glasses_total,
            "glasses_joules": glasses,
            "glasses_hours": constants["glasses-xr.battery_joules"] / glasses_total * 12.8,
            "bytes_out": calls * (8000.0 if design != "cloud-stills" else 60_000.0),
            "strips_out": calls if design in ("split", "hybrid") else 0,
            "frames_out": calls if design in ("cloud-video", "cloud-stills") else 0,
            "private_out": calls / 100 if design != "hybrid" else 0,
            "escalated_share": asked,
            "cost_eur": 0.0,
            "decisions": {"sure": 100},
        },
    }


def _curves(recogniser: str) -> dict[str, Any]:
    shares = [number / 20 for number in range(21)]
    local, cloud = 0.68, 0.79
    bends = {"metamodel gain": 0.10, "plain confidence": 0.04, "metamodel doubt": 0.07, "oracle": 0.2}
    lines = {}
    for name, bend in bends.items():
        curve = [local + (cloud - local) * share + bend * share**0.5 * (1 - share) for share in shares]
        lines[name] = {
            "qualities": curve,
            "low": [value - 0.02 for value in curve],
            "high": [value + 0.02 for value in curve],
            "area": [sum(curve) / len(curve)] * 3,
        }
    return {
        "recogniser": recogniser,
        "looks": 840,
        "phrases": 400,
        "local": local,
        "cloud": cloud,
        "shares": shares,
        "lines": lines,
        "arms": {"cascade": [0.17, 0.79], "confidence": [0.24, 0.77], "random": [0.2, 0.7]},
    }
