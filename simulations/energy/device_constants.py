"""Batteries, speeds and powers of phones and glasses, with sources.

Speeds are relative to one core of the machine that made the traces, a server's (AMD EPYC); 2 is twice as fast. They are
guesses by what single-thread benchmarks such as Geekbench 6 say about such cores, and their ranges wide: nothing here
was run on these devices. Powers while computing are for one busy core with its memory, above the idle power.
"""

from __future__ import annotations

from typing import Final

from simulations.energy.constants import Constant, Spread, Standing, table

_BENCHMARK = "single-thread benchmark classes; nothing was run on such a device"
_CNX = "CNX Software, 9 Dec 2021, Raspberry Pi Zero 2 W power consumption (Otii Arc)"
_FRAME = "Brilliant Labs, Frame hardware manual, key features"

DEVICE_CONSTANTS: Final = table(
    Constant(
        "battery.health",
        0.9,
        "1",
        0.75,
        1.0,
        "a phone in use: full when new, 0.8 is the usual end of life",
        note="share of the nominal capacity that is left",
        spread=Spread.TRIANGULAR,
    ),
    # Phones -----------------------------------------------------------------------------------------------------
    Constant("phone-low.battery_joules", 69e3, "J", 55e3, 83e3, "4,000 to 6,000 mAh at 3.85 V: common data sheets"),
    Constant("phone-mid.battery_joules", 69e3, "J", 55e3, 76e3, "4,000 to 5,500 mAh at 3.85 V: common data sheets"),
    Constant(
        "phone-flagship.battery_joules", 62e3, "J", 46e3, 76e3, "3,300 to 5,500 mAh at 3.85 V: common data sheets"
    ),
    Constant("phone-low.speed", 0.25, "1", 0.12, 0.4, f"{_BENCHMARK}: Cortex-A75 and smaller"),
    Constant("phone-mid.speed", 0.6, "1", 0.35, 0.9, f"{_BENCHMARK}: Cortex-A78"),
    Constant("phone-flagship.speed", 1.3, "1", 0.8, 2.0, f"{_BENCHMARK}: Cortex-X, Apple"),
    Constant("phone-low.compute_watts", 0.8, "W", 0.4, 1.4, "as the middle class, older process, lower clock"),
    Constant(
        "phone-mid.compute_watts",
        1.3,
        "W",
        0.9,
        2.2,
        "AnandTech, 26 May 2020, Cortex-A78: about 1 W for a 2.6 GHz Cortex-A77, measured and Arm's",
        Standing.CHECKED,
        "plus memory and supply, assumed",
    ),
    Constant(
        "phone-flagship.compute_watts",
        3.5,
        "W",
        2.0,
        5.5,
        "reviews of Cortex-X and Apple cores: 2 to 5 W at full clock",
        Standing.CITED,
    ),
    Constant(
        "phone.idle_watts",
        0.12,
        "W",
        0.05,
        0.25,
        "a phone in the pocket, screen off: a battery a week to a battery a day or two",
        note="paid in every design",
    ),
    Constant(
        "phone.base_watts",
        0.6,
        "W",
        0.3,
        1.0,
        "a tourist's other use (maps, camera, messages): empty in 20 to 60 hours",
        note="mean over the waking day, above idle; paid in every design",
    ),
    # Glasses ----------------------------------------------------------------------------------------------------
    Constant(
        "glasses-mcu.battery_joules",
        2800,
        "J",
        2100,
        4000,
        f"{_FRAME}: 210 mAh, at 3.7 V",
        Standing.CHECKED,
        "like Brilliant Frame: nRF52840, FPGA, 720p camera",
    ),
    Constant("glasses-sbc.battery_joules", 16e3, "J", 6.7e3, 27e3, "a prototype with 500 to 2,000 mAh at 3.7 V"),
    Constant(
        "glasses-xr.battery_joules",
        3456,
        "J",
        2050,
        3600,
        "iFixit, 2025, as Notebookcheck reports it: 960 mWh in Meta Ray-Ban Display; Ray-Ban Meta: 154 mAh (cited)",
        Standing.CHECKED,
        "Snapdragon AR1 class",
    ),
    Constant(
        "glasses-mcu.speed", 0.001, "1", 0.0003, 0.002, "Cortex-M4F at 64 MHz without vector unit; could hold no model"
    ),
    Constant("glasses-sbc.speed", 0.06, "1", 0.03, 0.12, f"{_BENCHMARK}: Cortex-A53 at 1 GHz (Raspberry Pi Zero 2 W)"),
    Constant("glasses-xr.speed", 0.3, "1", 0.1, 0.6, f"{_BENCHMARK}: Snapdragon AR1, whose cores are not published"),
    Constant(
        "glasses-mcu.compute_watts",
        0.01,
        "W",
        0.005,
        0.02,
        "Nordic nRF52840 product specification, as quoted by others: 3.2 mA at 3 V from flash",
        Standing.CITED,
    ),
    Constant(
        "glasses-sbc.compute_watts",
        0.4,
        "W",
        0.25,
        0.8,
        f"{_CNX}; A. Jacobs, 29 Oct 2021: all four cores busy 1.4 W above a Pi Zero W",
        Standing.CHECKED,
        "a quarter of it: one core; the division is assumed",
    ),
    Constant("glasses-xr.compute_watts", 1.0, "W", 0.4, 2.0, "a phone's middle class at a lower clock"),
    Constant("glasses-mcu.idle_watts", 0.005, "W", 0.001, 0.02, "asleep, with sensors"),
    Constant(
        "glasses-sbc.idle_watts",
        0.6,
        "W",
        0.375,
        0.7,
        f"{_CNX}: 0.6 W, 0.375 W with all that can be switched off off",
        Standing.CHECKED,
    ),
    Constant(
        "glasses-xr.idle_watts",
        0.1,
        "W",
        0.05,
        0.2,
        "reviews of Ray-Ban Meta: 6 to 7 hours connected and unused",
        Standing.CITED,
    ),
    Constant(
        "glasses-mcu.camera_watts",
        0.1,
        "W",
        0.04,
        0.25,
        "a low-power 720p sensor and the FPGA that reads it",
    ),
    Constant(
        "glasses-sbc.camera_watts",
        0.7,
        "W",
        0.4,
        1.2,
        "no fitting source; AT&T ARO, lte.conf, has 0.95 W for a phone of 2012",
    ),
    Constant(
        "glasses-xr.camera_watts",
        0.25,
        "W",
        0.12,
        0.5,
        "LiKamWa et al., MobiSys 2013: sensors of some 0.2 to 0.3 W",
        Standing.CITED,
        "with the image processor; reviews: Ray-Ban Meta record for 40 to 55 minutes, 0.6 to 0.9 W in all",
    ),
    Constant("glasses-mcu.display_watts", 0.12, "W", 0.05, 0.25, "a colour micro-OLED, partly lit"),
    Constant("glasses-sbc.display_watts", 0.3, "W", 0.1, 0.5, "a micro-OLED with its driver board"),
    Constant("glasses-xr.display_watts", 0.2, "W", 0.08, 0.5, "LCoS or micro-LED projector, partly lit"),
    Constant("glasses-mcu.encoder_watts", 0.05, "W", 0.02, 0.1, "JPEG in the FPGA; has no video encoder"),
    Constant("glasses-sbc.encoder_watts", 0.3, "W", 0.15, 0.6, "H.264 in hardware, with its memory traffic"),
    Constant("glasses-xr.encoder_watts", 0.15, "W", 0.05, 0.4, "H.264 or HEVC in hardware, with its memory traffic"),
    Constant(
        "glasses.camera_duty",
        0.5,
        "1",
        0.2,
        1.0,
        "no source",
        note="share of the awake time in which the camera streams",
        spread=Spread.TRIANGULAR,
    ),
    Constant(
        "glasses.display_duty",
        0.15,
        "1",
        0.05,
        0.4,
        "no source",
        note="share of the awake time in which something is shown",
        spread=Spread.TRIANGULAR,
    ),
    Constant(
        "glasses.follow_milliseconds_per_second",
        25,
        "ms/s",
        18,
        35,
        "README, wayword-sim bench stabiliser: 0.6 to 1.1 ms a frame, 30 frames a second",
        Standing.CHECKED,
        "CPU time of the stabiliser on the trace machine while the camera streams; XR chips may have a unit",
    ),
    Constant(
        "still.bytes",
        41e3,
        "B",
        15e3,
        73e3,
        "wayword-sim traces --show, photographs at the glasses' still quality: median, 10th and 90th percentile",
        Standing.CHECKED,
        "what the stills design sends; rendered street scenes compress to a third of that, for want of texture",
    ),
    Constant(
        "video.bytes_per_second",
        250e3,
        "B/s",
        125e3,
        500e3,
        "720p at 30 frames/s, H.264: 1 to 4 Mbit/s is usual",
        note="what the video design sends while the camera streams",
    ),
)
