"""The command as a user runs it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from cloud.cli import main
from shared.cli import run as run_command
from shared.messages.wayword.v1 import cloud_pb2, cloud_pb2_grpc
from shared.models.packs import PackStore

COMMAND = [sys.executable, "-m", "cloud.cli"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False)


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running service and the line it printed; killed if the test leaves it behind."""
    process = subprocess.Popen(
        [*COMMAND, "serve", "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "WAYWORD_CLOUD_WORKERS": "1"},
    )
    try:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 30)[0], "the service did not say that it listens"
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def assert_one_line(outcome: subprocess.CompletedProcess[str], *, code: int, says: str) -> None:
    assert outcome.returncode == code
    lines = outcome.stderr.splitlines()
    assert len(lines) == 1, outcome.stderr
    assert lines[0].startswith("wayword-cloud: error: ")
    assert says in lines[0]
    assert outcome.stdout == ""


def test_it_serves_until_sigterm_and_ends_with_zero(pack_store: PackStore, tmp_path: Path) -> None:
    port_file, events = tmp_path / "port", tmp_path / "events.jsonl"
    arguments = ("--packs", str(pack_store.root), "--port-file", str(port_file), "--events", str(events))
    with serving(*arguments) as (process, line):
        port = int(port_file.read_text())
        assert line == f"wayword-cloud: listening on 127.0.0.1:{port}"
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.RpcError) as failure:
                cloud_pb2_grpc.ReaderStub(channel).ReadStrip(cloud_pb2.ReadStripRequest(), timeout=10)
            assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=20)
        assert (process.returncode, complaints) == (0, "")
    assert not port_file.exists()
    assert list(tmp_path.iterdir()) == [events]
    names = [json.loads(line)["event"] for line in events.read_text().splitlines()]
    flow = ["loaded", "serving", "read", "draining", "stopped"]
    # Upkeep has events of its own, and its own time.
    assert [name for name in names if name in flow] == flow


def test_ctrl_c_drains_and_ends_as_shells_expect(pack_store: PackStore) -> None:
    with serving("--packs", str(pack_store.root)) as (process, _):
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "Traceback" not in complaints


def test_sigterm_while_models_load_ends_at_once(pack_store: PackStore, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    process = subprocess.Popen(
        [*COMMAND, "serve", "--listen", "127.0.0.1:0", "--packs", str(pack_store.root), "--events", str(events)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 20
        while not events.exists():  # opened before the models are
            assert time.monotonic() < deadline
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, complaints = process.communicate(timeout=20)
        assert (process.returncode, complaints) == (0, "")
    finally:
        process.kill()
        process.communicate()


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        outcome = run("serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert_one_line(outcome, code=2, says="Address already in use")


def test_missing_packs_are_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    outcome = run("serve", "--listen", "127.0.0.1:0", "--packs", str(tmp_path))
    assert_one_line(outcome, code=5, says="wayword-phone packs install")


def run_here(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> subprocess.CompletedProcess[str]:
    """As `run`, in this process: quick, for what ends before anything is started."""
    code = run_command("wayword-cloud", lambda: main(arguments))
    output = capsys.readouterr()
    return subprocess.CompletedProcess(arguments, code, output.out, output.err)


@pytest.mark.parametrize("listen", ["50051", "localhost", ":50051", "127.0.0.1:port", "127.0.0.1:70000"])
def test_a_malformed_address_is_one_line(listen: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_line(run_here(["serve", "--listen", listen], capsys), code=2, says="HOST:PORT")


def test_a_host_that_can_be_no_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_line(run_here(["serve", "--listen", "x" * 70 + ".example:1"], capsys), code=2, says="cannot listen")


def test_a_missing_settings_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_here(["serve", "--config", str(tmp_path / "none.toml")], capsys)
    assert_one_line(outcome, code=2, says="none.toml")


def test_an_unwritable_event_log_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = run_here(["serve", "--listen", "127.0.0.1:0", "--events", str(tmp_path / "no" / "folder")], capsys)
    assert_one_line(outcome, code=4, says="event log")


def test_the_command_line_overrules_the_environment_and_that_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "cloud.toml"
    config.write_text('listen = "127.0.0.1:1"\nbeam = 2\nworkers = 3\n')
    monkeypatch.setenv("WAYWORD_CLOUD_BEAM", "6")
    monkeypatch.setenv("WAYWORD_CLOUD_LISTEN", "127.0.0.1:2")
    outcome = run_here(["serve", "--show-settings", "--config", str(config), "--listen", "127.0.0.1:4"], capsys)
    shown = tomllib.loads(outcome.stdout)
    assert (shown["listen"], shown["beam"], shown["workers"]) == ("127.0.0.1:4", 6, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("workers = 0", "workers"),
        ("colour = 'red'", "colour"),
        ("= =", "TOML"),
        ("tls_key = 'k.pem'", "tls_certificate"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, text: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "cloud.toml"
    config.write_text(text)
    assert_one_line(run_here(["serve", "--config", str(config)], capsys), code=2, says=says)
