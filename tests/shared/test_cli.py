"""What a command says when it fails: one line, and an exit code."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from shared import cli
from shared.errors import InputError, StorageError


def failing(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("hint", "line"),
    [
        ("", "it is broken"),
        ("check the path", "it is broken. Check the path"),
        ("run: wayword-phone packs install", "it is broken. Run: wayword-phone packs install"),
        ("wayword-phone packs install mends it", "it is broken. wayword-phone packs install mends it"),
    ],
)
def test_an_error_is_one_line_with_what_to_do(capsys: pytest.CaptureFixture[str], hint: str, line: str) -> None:
    code = cli.run("wayword-phone", lambda: failing(InputError("it is broken", hint=hint)))
    assert code == InputError.exit_code
    assert capsys.readouterr().err == f"wayword-phone: error: {line}\n"


def test_a_library_that_is_not_installed_names_the_extra_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> int:
        importlib.import_module("no_such_library.inside")
        return 0

    assert cli.run("wayword-cloud", main) == 1
    says = "wayword-cloud: error: no_such_library is not installed. Run: pip install 'wayword[cloud]'\n"
    assert capsys.readouterr().err == says


def test_a_module_of_our_own_that_is_missing_is_a_bug_and_shown_as_one() -> None:
    with pytest.raises(ModuleNotFoundError):
        cli.run("wayword-cloud", lambda: bool(importlib.import_module("shared.no_such_module")))


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        code = "import sys; from shared import cli; sys.exit(cli.run('wayword-sim', lambda: print('x') or 0))"
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, timeout=30)
    assert done.returncode == StorageError.exit_code
    assert done.stderr.splitlines()[0] == "wayword-sim: error: No space left on device"
    assert "Traceback" not in done.stderr
