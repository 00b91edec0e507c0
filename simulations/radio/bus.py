"""A private D-Bus in the system bus's place: its own dbus-daemon, configuration and socket in a temporary folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from shared.errors import RadioError

PROGRAM: Final = "dbus-daemon"
ADDRESS_VARIABLE: Final = "DBUS_SYSTEM_BUS_ADDRESS"
"""Where clients of the system bus, bleak and bluetoothd among them, look for its address."""
MAX_SOCKET_PATH: Final = 107
"""Longest path of a unix socket on Linux, in bytes (unix(7): 108 with the final zero)."""

_CONFIG: Final = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="org.bluez"/>
    <allow user="*"/>
    <allow send_destination="*" eavesdrop="false"/>
    <allow receive_sender="*"/>
  </policy>
</busconfig>
"""


def find_dbus_daemon() -> str:
    """Path of the dbus-daemon program.

    Raises:
        RadioError: it is not installed.
    """
    # Debian keeps it in /usr/bin; some distributions in a folder that is only on root's path.
    program = shutil.which(PROGRAM) or shutil.which(PROGRAM, path="/usr/libexec:/usr/sbin:/sbin")
    if program is None:
        raise RadioError(
            f"{PROGRAM} is not installed", hint="install the dbus-daemon package (Debian: apt install dbus-daemon)"
        )
    return program


def write_config(folder: Path) -> tuple[Path, str]:
    """Write the configuration of a bus that listens in `folder`.

    Returns:
        The configuration file, and the address of the bus for `ADDRESS_VARIABLE`.

    Raises:
        RadioError: the folder's path is too long for a socket, or it cannot be written.
    """
    socket = folder / "bus"
    if len(os.fsencode(socket)) > MAX_SOCKET_PATH:
        raise RadioError(f"the path {socket} is too long for a socket", hint="set TMPDIR to a shorter folder")
    config = folder / "bus.conf"
    try:
        config.write_text(_CONFIG.format(socket=escape(str(socket))), encoding="utf-8")
    except OSError as error:
        raise RadioError(f"cannot write {config}: {error.strerror}") from error
    return config, f"unix:path={socket}"


def command_line(config: Path) -> list[str]:
    """The dbus-daemon that serves `config` and writes its address, one line, to standard output once it listens.

    Raises:
        RadioError: it is not installed.
    """
    return [find_dbus_daemon(), f"--config-file={config}", "--nofork", "--nopidfile", "--nosyslog", "--print-address=1"]


@contextmanager
def as_system_bus(address: str) -> Iterator[None]:
    """Have this process find the bus at `address` where it looks for the system bus; then what was there before."""
    before = os.environ.get(ADDRESS_VARIABLE)
    os.environ[ADDRESS_VARIABLE] = address
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(ADDRESS_VARIABLE, None)
        else:
            os.environ[ADDRESS_VARIABLE] = before
