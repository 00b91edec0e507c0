"""Which ends of a process are mended by starting it again."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from shared.errors import InputError, PackMissing, StorageError, UsageError
from simulations.supervisor import Supervisor


async def run(folder: Path, code: str, *, restarts: int) -> tuple[int, list[str], str]:
    told: list[str] = []
    supervisor = Supervisor(folder, told.append)
    child = await supervisor.start("child", [sys.executable, "-c", code], environment=os.environ, restarts=restarts)
    return await supervisor.wait("child"), told, child.last_line()


@pytest.mark.parametrize("error", [UsageError, InputError, StorageError, PackMissing])
async def test_a_failure_that_would_be_the_same_again_is_final(tmp_path: Path, error: type[UsageError]) -> None:
    code, told, said = await run(tmp_path, f"print('no such file'); exit({error.exit_code})", restarts=3)
    assert (code, told, said) == (error.exit_code, [], "no such file")


async def test_a_crash_is_mended_as_often_as_allowed(tmp_path: Path) -> None:
    code, told, _ = await run(tmp_path, "import os; os.abort()", restarts=2)
    assert code < 0
    assert told == ["child ended unexpectedly (SIGABRT): started again"] * 2
