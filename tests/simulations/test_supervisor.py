"""Children are started, restarted and always ended."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.errors import UsageError
from simulations.demo import Fault
from simulations.supervisor import Supervisor

SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


async def test_stop_ends_every_child(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, lambda line: None)
    first = await supervisor.start("one", SLEEPER, environment=os.environ)
    second = await supervisor.start("two", SLEEPER, environment=os.environ)
    await supervisor.stop()
    assert first.process is not None
    assert second.process is not None
    assert first.process.returncode is not None
    assert second.process.returncode is not None


async def test_a_killed_child_is_started_again_and_one_killed_for_good_is_not(tmp_path: Path) -> None:
    restarted = asyncio.Event()
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        if "started again" in line:
            restarted.set()

    supervisor = Supervisor(tmp_path, tell)
    child = await supervisor.start("phone", SLEEPER, environment=os.environ, restarts=1)
    assert child.process is not None
    first = child.process.pid
    supervisor.kill("phone", for_good=False)
    async with asyncio.timeout(20):
        await restarted.wait()
    assert child.process.pid != first
    supervisor.kill("phone", for_good=True)
    assert await supervisor.wait("phone") == -signal.SIGKILL
    assert len([line for line in told if "started again" in line]) == 1


async def test_the_last_line_of_a_failed_child_is_its_error(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, lambda line: None)
    script = "import sys; print('chatter'); print('wayword-cloud: error: port in use', file=sys.stderr); sys.exit(4)"
    child = await supervisor.start("cloud", [sys.executable, "-c", script], environment=os.environ)
    assert await supervisor.wait("cloud") == 4
    assert child.last_line() == "port in use"


def test_children_do_not_outlive_a_killed_parent() -> None:
    script = (
        "import subprocess, sys, os, signal\n"
        "child = subprocess.Popen([sys.executable, '-m', 'simulations.guard', str(os.getpid()), sys.executable, '-c',"
        " \"import signal; print('up', flush=True); signal.pause()\"], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "signal.pause()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    # A descriptor of the child's own turns readable at its end: no polling.
    watch = os.pidfd_open(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert select.select([watch], [], [], 20)[0]
    os.close(watch)
    assert not alive(pid)


@pytest.mark.parametrize(
    "text", ["phone", "phone:kill", "phone:kill@soon", "radio:kill@1", "phone:hug@1", "phone:kill@-2"]
)
def test_a_fault_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no fault"):
        Fault.parse(text)


def test_faults_are_read() -> None:
    assert Fault.parse("cloud:stop@4.5") == Fault("cloud", True, 4.5)
    assert Fault.parse("glasses:kill@2") == Fault("glasses", False, 2.0)
