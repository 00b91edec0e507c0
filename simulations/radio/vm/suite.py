"""Which tests run on real BlueZ, and which do not, with the reason."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from simulations.radio.vm.machine import GUEST_RESULTS

TESTS: Final = (
    "tests/simulations/test_radio_link.py",
    "tests/simulations/test_radio_faults.py",
    "tests/system/test_link_ble.py",
    "tests/system/test_pairing.py",
)

_PROCESSES: Final = "about the radio's own processes, whatever stack they are"
_PAIRING: Final = "tests/system/test_pairing.py::"
_FAULTS: Final = "tests/simulations/test_radio_faults.py::"

EXCLUDED: Final[dict[str, str]] = {
    f"{_PAIRING}test_both_sides_say_what_happened[legacy]": "bluetoothd cannot be told to pair so",
    f"{_PAIRING}test_both_sides_say_what_happened[bond lost on the glasses]": "crashes Linux 6.1 in hci_chan_del",
    f"{_FAULTS}test_the_air_answers_every_command_and_refuses_what_it_does_not_understand": _PROCESSES,
    f"{_FAULTS}test_everything_ends_with_the_context_but_the_logs_that_were_asked_for": _PROCESSES,
    f"{_FAULTS}test_everything_ends_when_the_work_inside_fails_or_is_cancelled": _PROCESSES,
    f"{_FAULTS}test_a_start_that_is_cancelled_leaves_nothing": _PROCESSES,
    f"{_FAULTS}test_everything_ends_when_the_parent_is_killed": _PROCESSES,
    f"{_FAULTS}test_a_missing_dbus_daemon_is_said_with_what_to_install": _PROCESSES,
    f"{_FAULTS}test_a_child_that_cannot_start_is_named_with_its_last_words": _PROCESSES,
    f"{_FAULTS}test_a_temporary_folder_too_deep_for_a_socket_is_said": _PROCESSES,
}
"""Tests that say nothing about BlueZ or cannot hold there, by pytest's node id, with the reason."""

CONFIGURATION: Final = ("--color=no", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:anyio")
"""The link tests use neither plugin, and loading them takes seconds here."""


def pytest_command(arguments: Sequence[str], work: Path) -> list[str]:
    """The command that runs the link tests in the guest.

    Args:
        arguments: more pytest arguments; if one names a test or a file, only those it names run.
        work: the checkout.
    """
    named = any((work / argument.split("::")[0]).exists() for argument in arguments if not argument.startswith("-"))
    tests = () if named else TESTS
    return [
        *(sys.executable, "-m", "pytest", "-v", *CONFIGURATION),
        f"--junitxml={GUEST_RESULTS}/junit.xml",
        *(f"--deselect={test}" for test in EXCLUDED),
        *tests,
        *arguments,
    ]
