"""The commands that make a household's keys, and the settings they are for."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from cloud.callers import PHONE_SCOPES, Scope
from cloud.cli import main
from cloud.front.key_source import FileKeys
from cloud.front.tokens import Identity, TokenChecker, TokenRules
from shared.cli import run as run_command
from shared.clock import SystemClock

NAMES = ("ca.pem", "server.pem", "devices/phone-1.pem", "devices/phone-2.pem")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> subprocess.CompletedProcess[str]:
    code = run_command("wayword-cloud", lambda: main([str(argument) for argument in arguments]))
    output = capsys.readouterr()
    return subprocess.CompletedProcess(list(arguments), code, output.out, output.err)


async def accepted(word: str, *, secret: Path | None = None, public: Path | None = None) -> Identity:
    clock = SystemClock()
    keys = FileKeys(secret=secret, public=public, clock=clock)
    return await TokenChecker(keys, rules=TokenRules("wayword", "wayword-cloud"), clock=clock).check(word)


def private(path: Path) -> bool:
    return stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_household_s_token_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret, out = tmp_path / "secret", tmp_path / "token"
    outcome = run(capsys, "token", "--secret", secret, "--create", "--device", "phone-1", "--out", out)
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")
    assert private(secret)
    assert private(out)
    assert await accepted(out.read_text().strip(), secret=secret) == Identity("phone-1", PHONE_SCOPES)
    again = run(capsys, "token", "--secret", secret, "--create", "--device", "phone-2", "--scope", "batch")
    assert await accepted(again.stdout.strip(), secret=secret) == Identity("phone-2", frozenset({Scope.BATCH}))


async def test_a_key_pair_s_token_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"
    word = run(capsys, "token", "--key", key, "--create", "--device", "phone-1").stdout.strip()
    assert private(key)
    assert (await accepted(word, public=tmp_path / "key.pub")).device == "phone-1"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--secret", "none", "--device", "a"), "--create"),
        (("--key", "none", "--device", "a"), "--create"),
        (("--secret", "s", "--create", "--device", "a b"), "no device"),
        (("--secret", "s", "--create", "--device", "a", "--days", "0"), "days"),
        (("--secret", "s", "--create", "--device", "a", "--out", "no/folder"), "cannot write"),
        (("--secret", "s", "--create", "--device", "a", "--key-name", "k"), "--key"),
    ],
)
def test_a_wrong_wish_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run(capsys, "token", *arguments)
    assert outcome.returncode != 0
    assert says in outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1


def test_certificates_are_made_once_and_devices_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    first = run(capsys, "certificates", home, "--host", "cloud.home", "--host", "192.0.2.7", "--device", "phone-1")
    assert len(first.stdout.splitlines()) == 6
    before = (home / "ca.pem").read_bytes(), (home / "server.pem").read_bytes()
    second = run(capsys, "certificates", home, "--device", "phone-2", "--device", "phone-1")
    assert second.stdout.splitlines() == [
        str(home / "devices" / "phone-2-key.pem"),
        str(home / "devices" / "phone-2.pem"),
    ]
    assert ((home / "ca.pem").read_bytes(), (home / "server.pem").read_bytes()) == before
    assert "there already" in run(capsys, "certificates", home, "--host", "other").stderr
    certificates = [x509.load_pem_x509_certificate((home / name).read_bytes()) for name in NAMES]
    for certificate in certificates:
        certificate.verify_directly_issued_by(certificates[0])
    names = certificates[1].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["cloud.home"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
    assert all(private(path) for path in home.rglob("*-key.pem"))
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "arguments",
    [
        ("--device", "../phone"),
        ("--device", ""),
        ("--host", "a b"),
        ("--host", "-"),
        ("--days", "0"),
        ("--days", "nan"),
    ],
)
def test_no_certificate_is_made_of_what_is_no_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str]
) -> None:
    outcome = run(capsys, "certificates", tmp_path / "home", *arguments)
    assert outcome.returncode == 2
    assert not (tmp_path / "home").exists()


def test_what_is_to_be_open_is_said_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(capsys, "serve", "--show-settings", "--insecure", "--metrics-listen", "127.0.0.1:9100").stdout
    assert "insecure = true" in shown
    assert 'metrics_listen = "127.0.0.1:9100"' in shown
    assert "insecure = false" in run(capsys, "serve", "--show-settings").stdout
