"""Power and timing of the radios, with sources.

Two generations bracket what a phone of today draws. J. Huang et al., A close examination of performance and power
characteristics of 4G LTE networks, MobiSys 2012, tables 3 and 4, measured 2012's modems; the same figures stand in
AT&T's ARO (`lte.conf` in its repository), where they were read for this table. A. Narayanan et al., A variegated look
at 5G in the wild, SIGCOMM 2021, measured phones of 2020; its published data (`Data-Transfer-Power/MN-Transfer`) gives
whole phones with the screen at full brightness, 2.2 to 2.5 W without traffic (`baseline_power.csv`), and by difference
the radio: read off some of its runs, not fitted. The bounds are these two, and nominal values lie between. An uplink's
power also depends on the signal: at one rate, 15 Mbit/s, the phone of that data set drew 3.0 W for a while and 4.2 W
for another.
"""

from __future__ import annotations

from typing import Final

from simulations.energy.constants import Constant, Spread, Standing, table

_HUANG = "Huang et al., MobiSys 2012, tables 3 and 4; the figures as in AT&T ARO, lte.conf"
_WILD = "Narayanan et al., SIGCOMM 2021"
_DATA = f"{_WILD}, published data MN-Transfer"
_NORDIC = "Nordic nRF52840 product specification, current consumption, DC/DC, 3 V"

RADIO_CONSTANTS: Final = table(
    # Wi-Fi in power-save mode --------------------------------------------------------------------------------
    Constant(
        "wifi.wake_seconds",
        0.079,
        "s",
        0.01,
        0.1,
        "Huang et al., MobiSys 2012, table 3",
        Standing.CITED,
        "79 ms at 124 mW; phones since wake faster",
    ),
    Constant("wifi.wake_watts", 0.124, "W", 0.08, 0.4, "Huang et al., MobiSys 2012, table 3", Standing.CITED),
    Constant(
        "wifi.active_watts",
        0.25,
        "W",
        0.13,
        0.6,
        "Huang et al., table 4: 0.133 W; AT&T ARO, lte.conf: 0.403 W",
        Standing.CHECKED,
        "2012's two figures, and room for 802.11ac/ax with two antennas",
    ),
    Constant(
        "wifi.up_nanojoules_per_byte",
        1.2e3,
        "nJ/B",
        200,
        2.3e3,
        "Huang et al., table 4: 283 mW/(Mbit/s); the lower bound for the rates of 802.11ax is assumed",
        Standing.CITED,
    ),
    Constant(
        "wifi.down_nanojoules_per_byte",
        500,
        "nJ/B",
        80,
        1.1e3,
        "Huang et al., table 4: 137 mW/(Mbit/s)",
        Standing.CITED,
    ),
    Constant(
        "wifi.tail_seconds",
        0.24,
        "s",
        0.1,
        0.4,
        "Huang et al., table 3: 238 ms; AT&T ARO, WiFi.conf: 250 ms",
        Standing.CHECKED,
    ),
    Constant("wifi.tail_watts", 0.12, "W", 0.06, 0.3, "Huang et al., MobiSys 2012, table 3", Standing.CITED),
    Constant(
        "wifi.idle_watts",
        0.01,
        "W",
        0.002,
        0.03,
        "AT&T ARO, lte.conf: 0.02 W; beacons of Huang et al.: 77 mW for 7.6 ms every 308 ms, 2 mW",
        Standing.CHECKED,
    ),
    # LTE ------------------------------------------------------------------------------------------------------
    Constant("lte.wake_seconds", 0.26, "s", 0.1, 0.4, _HUANG, Standing.CHECKED, "promotion from idle to connected"),
    Constant("lte.wake_watts", 0.9, "W", 0.5, 1.21, f"{_HUANG}: 1.21 W; lower for modems since", Standing.CHECKED),
    Constant(
        "lte.active_watts",
        0.55,
        "W",
        0.25,
        1.29,
        f"upper: Huang et al., table 4 (cited; ARO: 1.2 W); lower: {_DATA}",
        Standing.CHECKED,
        "2020: a phone receives 1 Mbit/s with 2.6 W; without traffic, in other runs, 2.2 to 2.5 W",
    ),
    Constant(
        "lte.up_nanojoules_per_byte",
        900,
        "nJ/B",
        200,
        3507,
        f"upper: {_HUANG}, 438 mW/(Mbit/s); lower: {_DATA}",
        Standing.CHECKED,
        "2020: 100 mW/(Mbit/s) for most of the time, 30 in a good moment",
    ),
    Constant(
        "lte.down_nanojoules_per_byte",
        200,
        "nJ/B",
        100,
        416,
        f"upper: {_HUANG}, 52 mW/(Mbit/s); lower: {_DATA}",
        Standing.CHECKED,
        "2020: about 16 mW/(Mbit/s) between 1 and 20 Mbit/s",
    ),
    Constant(
        "lte.reception_seconds",
        0.15,
        "s",
        0.1,
        0.3,
        "AT&T ARO, lte.conf: 0.1 s inactivity timer, 0.02 s short DRX",
        Standing.CHECKED,
        "continuous reception behind the last packet",
    ),
    Constant(
        "lte.tail_seconds",
        10.2,
        "s",
        5.0,
        12.0,
        f"Huang et al.: 11.6 s; ARO: 10 s; {_WILD}, script of figure 10: 5 and 10.2 s (NSA); Grunenberger 2014: 12 s",
        Standing.CHECKED,
        "set by the operator",
    ),
    Constant(
        "lte.tail_watts",
        0.3,
        "W",
        0.066,
        1.06,
        f"upper: {_HUANG}; lower: {_WILD}, table 2 (66 and 178 mW, cited); Grunenberger 2014: 91 mA at 5 V above idle",
        Standing.CHECKED,
        "the lower bound is cited from memory",
    ),
    Constant(
        "lte.idle_watts", 0.02, "W", 0.005, 0.03, f"{_HUANG}: 0.594 W for 43 ms every 1.28 s, 20 mW", Standing.CHECKED
    ),
    Constant(
        "lte.weak_factor",
        2.5,
        "1",
        1.5,
        6.0,
        "Schulman et al., Bartendr, MobiCom 2010",
        Standing.CITED,
        "joules per byte at the edge of a cell, relative to a good signal",
    ),
    # 5G, non-standalone ---------------------------------------------------------------------------------------
    Constant(
        "5g.wake_seconds",
        0.4,
        "s",
        0.2,
        1.0,
        f"{_WILD}, section 4",
        Standing.CITED,
        "LTE promotion, then adding the 5G cell",
    ),
    Constant("5g.wake_watts", 0.8, "W", 0.6, 1.2, f"{_WILD}, table 2: 0.70 and 0.80 W", Standing.CITED),
    Constant(
        "5g.active_watts",
        0.9,
        "W",
        0.4,
        2.0,
        "Xu et al., SIGCOMM 2020, abstract: 2 to 3 times that of 4G",
        Standing.CHECKED,
        "applied to the range of LTE",
    ),
    Constant(
        "5g.up_nanojoules_per_byte", 400, "nJ/B", 200, 700, f"{_WILD}, table 8: 29 to 80 mW/(Mbit/s)", Standing.CITED
    ),
    Constant(
        "5g.down_nanojoules_per_byte", 108, "nJ/B", 50, 200, f"{_WILD}, table 8: 13.5 mW/(Mbit/s)", Standing.CITED
    ),
    Constant(
        "5g.tail_seconds",
        10.2,
        "s",
        8.0,
        20.0,
        f"{_WILD}, published script of figure 10: 10.2 s; Xu et al. 2020: 20 s",
        Standing.CHECKED,
        "the 20 s are cited from memory",
    ),
    Constant("5g.tail_watts", 0.35, "W", 0.25, 0.9, f"{_WILD}, table 2: 0.25 to 0.6 W", Standing.CITED),
    Constant("5g.idle_watts", 0.02, "W", 0.005, 0.04, "as LTE, on which the phone camps"),
    Constant("mmwave.wake_watts", 1.5, "W", 1.0, 2.0, f"{_WILD}, table 2: 1.49 W", Standing.CITED, "otherwise as 5G"),
    Constant(
        "mmwave.active_watts",
        3.3,
        "W",
        2.5,
        4.0,
        _DATA,
        Standing.CHECKED,
        "6.2 W with 50 Mbit/s up, less 0.4 W for the bytes and 2.4 W without traffic",
    ),
    Constant(
        "mmwave.up_nanojoules_per_byte",
        64,
        "nJ/B",
        40,
        80,
        _DATA,
        Standing.CHECKED,
        "6.2 W at 51 Mbit/s and 7.3 W at 194: 8 mW/(Mbit/s)",
    ),
    Constant(
        "mmwave.down_nanojoules_per_byte", 15, "nJ/B", 10, 30, f"{_WILD}, table 8: 1.8 mW/(Mbit/s)", Standing.CITED
    ),
    Constant("mmwave.tail_watts", 1.09, "W", 0.7, 1.3, f"{_WILD}, table 2", Standing.CITED),
    # Bluetooth LE -----------------------------------------------------------------------------------------------
    Constant(
        "ble.air_microseconds_per_byte",
        6.0,
        "us/B",
        5.7,
        11.0,
        "Bluetooth Core 5.4, vol. 6, part B, 2 and 4.1.1: 251-byte packets, an acknowledgement, twice 150 us",
        Standing.CITED,
        "5.8 us on the 2M PHY and 10.2 us on the 1M PHY, computed from the format",
    ),
    Constant(
        "ble.glasses_watts",
        0.019,
        "W",
        0.0144,
        0.049,
        f"{_NORDIC}: 6.40 mA sending at 0 dBm, 6.26 receiving, 16.4 at 8 dBm",
        Standing.CHECKED,
        "while the radio is on; the nRF54L15 needs 3.4 to 4.8 mA",
    ),
    Constant(
        "ble.glasses_event_microjoules",
        15,
        "uJ",
        7,
        40,
        "an empty event: 1 to 2 ms from wake to sleep at 3 to 6 mA and 3 V",
    ),
    Constant(
        "ble.glasses_idle_watts",
        5e-6,
        "W",
        3e-6,
        3e-5,
        f"{_NORDIC}: 1.5 uA asleep, as quoted by others",
        Standing.CITED,
    ),
    Constant(
        "ble.phone_watts",
        0.1,
        "W",
        0.03,
        0.3,
        "no fitting source: a combination chip and its host, awake for the packet",
    ),
    Constant(
        "ble.phone_event_microjoules", 100, "uJ", 20, 400, "no fitting source: the phone's chip and its host wake"
    ),
    Constant("ble.phone_idle_watts", 0.001, "W", 2e-4, 0.005, "no fitting source"),
    Constant(
        "ble.interval_seconds",
        0.05,
        "s",
        0.015,
        0.1,
        "the link's usual choice; shorter while bulk data flows",
        note="between connection events while nothing is sent",
    ),
    Constant(
        "glasses.wifi_watts",
        0.35,
        "W",
        0.2,
        0.8,
        "no fitting source: low-power Wi-Fi while it streams 2 Mbit/s",
        note="what a video design needs, since Bluetooth LE is too slow",
    ),
    Constant(
        "glasses.wifi_idle_watts",
        0.005,
        "W",
        0.001,
        0.02,
        "as the phone's in power-save mode",
        spread=Spread.LOG_UNIFORM,
    ),
)
