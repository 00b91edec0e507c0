"""The command `wayword-phone`: what it prints, and one clear line for everything that goes wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from phone import cli
from phone.cascade.decision import Action
from phone.cascade.policy import Decision, Recogniser, Rule, Signals
from phone.database import Database
from phone.languages import OfflineDirection, check
from phone.ledger import Consent, Ledger
from phone.ledger_rows import Outcome, Setting, Sign
from shared.clock import SystemClock
from shared.models.apertium import EngineName
from shared.models.bergamot.translator import Translation
from shared.models.packs import PackStore
from shared.models.phrasebook import Phrasebook

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `wayword-phone`; returns exit code, standard output and standard error."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["wayword-phone", *map(str, arguments)])
        try:
            code = cli.entry()
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def one_line_error(result: tuple[int, str, str]) -> str:
    code, _, err = result
    assert code != 0
    assert err.startswith("wayword-phone: error: ")
    assert err.count("\n") == 1
    return err


def test_a_text_is_translated_and_the_engine_named(pack_store: PackStore, command: Command) -> None:
    code, out, err = command("translate", "Proibido fumar", "--packs", pack_store.root)
    assert (code, err) == (0, "")
    translation, details = out.splitlines()
    assert translation.lower() == "no smoking"
    assert details.startswith("(pt to en, phrasebook, confidence ")
    code, out, _ = command("translate", "A loja abre amanhã", "--from", "pt", "--beam", "2", "--packs", pack_store.root)
    assert code == 0
    assert "tomorrow" in out.lower()
    assert "translator mt-pt-en" in out
    code, out, _ = command("translate", "Where is the station?", "--to", "pt", "--packs", pack_store.root)
    assert "estação" in out


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["Hauptbahnhof und Flughafen", "--from", "de", "--to", "fr"], 6, "nothing installed translates de to fr"),
        (["Gestern war der Turm noch blau", "--from", "de"], 6, "none of the phrasebook's signs"),
        (["Bom dia", "--from", "xx"], 6, "nothing installed translates xx to en"),
        (["zzq", "--to", "pt"], 6, ""),
        (["Bom dia", "--from", "português"], 2, "ISO 639-1"),
        (["Bom dia", "--to", "EN"], 2, "ISO 639-1"),
        ([" "], 2, "1 to 512 characters"),
        (["a" * 513], 2, "1 to 512 characters"),
        (["Bom dia", "--beam", "0"], 2, "--beam"),
    ],
)
def test_what_cannot_be_translated_is_one_clear_line(
    pack_store: PackStore, command: Command, arguments: list[str], exit_code: int, says: str
) -> None:
    result = command("translate", *arguments, "--packs", pack_store.root)
    assert says in one_line_error(result)
    assert result[0] == exit_code


def test_without_packs_the_phrasebook_works_and_the_rest_says_how_to_install(tmp_path: Path, command: Command) -> None:
    code, out, _ = command("translate", "Saída", "--packs", tmp_path)
    assert code == 0
    assert "exit" in out.lower()
    error = one_line_error(command("translate", "A loja abre amanhã", "--from", "pt", "--packs", tmp_path))
    assert "wayword-phone packs install" in error
    database = tmp_path / "phone.sqlite3"
    error = one_line_error(command("run", "--packs", tmp_path / "none", "--database", database))
    assert "wayword-phone packs install" in error
    code, out, _ = command("languages", "--apertium", "off", "--packs", tmp_path)
    assert code == 0
    assert "pt -> en" in out
    assert "any text" not in out
    assert "signs not readable: no recogniser is installed" in out


def test_the_languages_listed_are_the_ones_that_work_offline(pack_store: PackStore, command: Command) -> None:
    code, out, _ = command("languages", "--check", "--apertium", "off", "--packs", pack_store.root)
    assert code == 0
    assert "(nothing)" not in out
    assert "DOES NOT WORK" not in out
    languages = {line[:2]: line for line in out.splitlines() if not line.startswith(" ")}
    directions = {
        line.split("  ")[2].strip(): line for line in out.splitlines() if line.startswith("    ") and "->" in line
    }
    assert "any text (mt-pt-en; BLEU " in directions["pt -> en"]
    assert "any text (mt-en-pt; not measured)" in directions["en -> pt"]
    assert "patterns only" in directions["ja -> en"]
    assert "Japanese: signs readable (ocr-small-rec" in languages["ja"]
    assert "Korean: signs not readable offline: no installed recogniser knows the script" in languages["ko"]


def test_the_languages_are_there_for_programs_too(pack_store: PackStore, command: Command) -> None:
    code, out, _ = command("languages", "--check", "--json", "--apertium", "off", "--packs", pack_store.root)
    assert code == 0
    reports = {report["language"]: report for report in map(json.loads, out.splitlines())}
    assert set(reports) >= {*Phrasebook.builtin().languages, "en"}
    (into_english,) = reports["pt"]["directions"]
    assert (into_english["target"], into_english["engine"], into_english["offline"]) == ("en", "mt-pt-en", True)
    assert into_english["check"]["works"]
    assert reports["ko"]["reading"]["readable"] is False


_WITHOUT_NETWORK = """
import json, socket, sys
try:
    socket.create_connection(("192.0.2.1", 80), timeout=1)
except OSError:
    pass
else:
    sys.exit("there is a network")
if sys.argv[1] == "guard":
    def refuse(*arguments, **options):
        raise OSError("no network in this test")
    socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from phone import cli
sys.exit(cli.main(["languages", "--check", "--json", "--packs", sys.argv[2]]))
"""


def test_each_declared_direction_translates_with_the_network_removed(pack_store: PackStore) -> None:
    """In a network namespace with nothing in it where the kernel allows one, else with sockets that refuse."""
    unshare = ["unshare", "--net", "--map-root-user"]
    isolated = bool(shutil.which("unshare")) and subprocess.run([*unshare, "true"], capture_output=True).returncode == 0
    command = [sys.executable, "-c", _WITHOUT_NETWORK, "unshare" if isolated else "guard", str(pack_store.root)]
    done = subprocess.run([*unshare, *command] if isolated else command, capture_output=True, text=True, timeout=55)
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    checked = {
        (report["language"], item["target"]): item["check"] for report in reports for item in report["directions"]
    }
    assert {("pt", "en"), ("en", "pt")} <= checked.keys()
    assert {language for language, target in checked if target == "en"} >= set(Phrasebook.builtin().languages)
    for direction, outcome in checked.items():
        assert outcome["works"], direction


def test_a_direction_that_is_declared_and_does_not_work_is_found_out() -> None:
    class Silent:
        pack = EngineName("silent")

        def translate(self, text: str, *, beam: int = 1) -> Translation:
            return Translation(" ", (), 1)

    declared = OfflineDirection("pt", "en", "silent", "", 0, 0, "Bom dia")
    book = Phrasebook([])
    assert not check(declared, book, {("pt", "en"): Silent()}).works
    assert not check(declared, book, {}).works


def test_phrases_of_ones_own_answer_before_those_that_ship(tmp_path: Path, command: Command) -> None:
    (tmp_path / "pt.tsv").write_text("Saída\tThis way to the party\n", encoding="utf-8")
    code, out, _ = command("translate", "SAÍDA", "--phrases", tmp_path, "--packs", tmp_path)
    assert (code, out.splitlines()[0]) == (0, "This way to the party")
    (tmp_path / "pt.tsv").write_text("Saída\n", encoding="utf-8")
    assert "pt.tsv:1" in one_line_error(command("translate", "SAÍDA", "--phrases", tmp_path, "--packs", tmp_path))


def test_the_languages_of_the_trip_decide_what_a_word_of_several_languages_is(tmp_path: Path, command: Command) -> None:
    for trip in ("es", "it"):
        _, out, _ = command("translate", "Farmacia", "--trip", f"{trip},ko", "--packs", tmp_path)
        assert f"({trip} to en" in out
    assert "ISO 639-1" in one_line_error(command("translate", "Farmacia", "--trip", "Spanish", "--packs", tmp_path))


def _fill(path: Path) -> None:
    database = Database(path)
    ledger = Ledger(database, clock=SystemClock(), cloud="cloud.example:443")
    signals = Signals(0.4, 1.0, 0.9, 0.8, None, Recogniser.TINY, None, 5_000)
    ledger.record(
        Sign(1, 1, "copy", "", "en", "24"), signals, Decision(Action.KEEP, Rule.SURE, "sure enough: 99% right", 0, 0.03)
    )
    row = ledger.record(
        Sign(1, 2, "translator", "pt", "en", "Saída"),
        signals,
        Decision(Action.ESCALATE, Rule.UNSURE, "unsure", 0.3, 0.03),
        Setting("cascade", "wifi", 0.2),
    )
    ledger.close_call(row, Outcome.REFINED, bytes_out=5_000, bytes_in=800, cloud_ms=200)
    database.close()


def test_the_ledger_shows_what_left_and_why(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "phone.sqlite3"
    assert command("ledger", "--database", path)[0] == 0
    assert not path.exists()  # looking makes nothing
    _fill(path)
    code, out, _ = command("ledger", "--database", path)
    assert code == 0
    kept, left, shown, kept_by, asked_by, by_day, today = out.splitlines()
    assert "stayed here  sure enough: 99% right" in kept
    assert "5000 B left to cloud.example:443 over wifi  unsure -> refined in 0.20 s" in left
    assert (shown, kept_by, asked_by) == ("2 of 2 decisions shown", "kept: 1 (1 sure)", "asked or held: 1 (1 unsure)")
    assert by_day.startswith("5000 bytes left, 800 came back; by day: 20")
    assert by_day.endswith(" 5000")
    assert today == "5000 bytes left the phone in the last 24 hours"
    _, out, _ = command("ledger", "--database", path, "--left")
    assert "sure enough" not in out
    assert out.splitlines()[1] == "1 of 1 decisions shown"
    _, out, _ = command("ledger", "--database", path, "--since", "2999-01-01")
    assert out.splitlines() == ["0 of 0 decisions shown", "5000 bytes left the phone in the last 24 hours"]
    code, out, _ = command("ledger", "--database", path, "--json", "--limit", "1")
    record = json.loads(out)
    assert (record["escalate"], record["bytes_out"], record["outcome"]) == (True, 5_000, "refined")
    assert (record["action"], record["policy"], record["network"]) == ("escalate", "cascade", "wifi")
    assert record["text"] is None


def test_a_ledger_that_cannot_be_read_is_one_clear_line(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "phone.sqlite3"
    path.write_bytes(b"no database" * 1_000)
    assert "phone.sqlite3" in one_line_error(command("ledger", "--database", path))
    assert "--limit" in one_line_error(command("ledger", "--database", path, "--limit", "0"))
    assert "--since" in one_line_error(command("ledger", "--database", path, "--since", "yesterday"))


def test_consent_is_given_and_withdrawn(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "phone.sqlite3"
    assert command("consent", "--minutes", "5", "--database", path)[0] == 0
    database = Database(path)
    assert Consent(database, clock=SystemClock()).given()
    assert command("consent", "--withdraw", "--database", path)[0] == 0
    assert not Consent(database, clock=SystemClock()).given()
    database.close()
    assert "--minutes" in one_line_error(command("consent", "--minutes", "-1", "--database", path))


def test_settings_come_from_the_command_line_the_environment_and_a_file(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "phone.toml"
    config.write_text('cloud = "localhost:1"\nbattery = 50\ntarget = "pt"\ntrip_languages = ["fr", "de"]\n')
    monkeypatch.setenv("WAYWORD_PHONE_BATTERY", "40")
    code, out, _ = command("run", "--config", config, "--target", "fr", "--show-settings")
    assert code == 0
    settings = tomllib.loads(out)
    assert (settings["target"], settings["battery"], settings["cloud"]) == ("fr", 40, "localhost:1")
    assert settings["trip_languages"] == ["fr", "de"]
    assert settings["apertium"] == "auto"
    assert settings["cloud_use"] == "allow"
    _, out, _ = command("run", "--config", config, "--trip", "es,pt", "--apertium", "off", "--show-settings")
    settings = tomllib.loads(out)
    assert (settings["trip_languages"], settings["apertium"]) == (["es", "pt"], "off")
    assert (settings["policy"], settings["hedging"], settings["hold_s"]) == ("cascade", True, 8.0)
    flags = ("--policy", "never", "--no-hedging", "--metered", "--cloud-use", "ask")
    _, out, _ = command("run", "--config", config, *flags, "--show-settings")
    settings = tomllib.loads(out)
    chosen = (settings["policy"], settings["hedging"], settings["metered"], settings["cloud_use"])
    assert chosen == ("never", False, True, "ask")
    _, out, _ = command("run", "--config", config, "--no-cloud", "--show-settings")
    assert "cloud" not in tomllib.loads(out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--battery", "101"], "battery"),
        (["--target", "English"], "target"),
        (["--trip", "pt,Spanish"], "trip_languages"),
        (["--config", "missing.toml"], "missing.toml"),
        (["--events", "/proc/nowhere/events"], "event log"),
        (["--database", "/proc/nowhere/phone.sqlite3"], "--database"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(command: Command, arguments: list[str], says: str) -> None:
    assert says in one_line_error(command("run", *arguments))


def test_a_file_of_settings_that_is_no_toml_is_one_clear_line(tmp_path: Path, command: Command) -> None:
    for content in ("this is = = not toml", "nonsense = 1", 'recogniser = "huge"'):
        config = tmp_path / "phone.toml"
        config.write_text(content)
        one_line_error(command("run", "--config", config))


def test_a_malformed_cloud_address_is_one_clear_line(pack_store: PackStore, tmp_path: Path, command: Command) -> None:
    database = tmp_path / "phone.sqlite3"
    result = command("run", "--cloud", "nonsense", "--packs", pack_store.root, "--database", database)
    assert "HOST:PORT" in one_line_error(result)


def test_a_missing_bluetooth_stack_is_one_clear_line(
    pack_store: PackStore, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/no-bus")
    result = command("run", "--packs", pack_store.root, "--database", tmp_path / "phone.sqlite3")
    assert result[0] == 7
    assert "bluetooth" in one_line_error(result).lower()


def test_help_names_every_command(command: Command) -> None:
    code, out, _ = command("--help")
    assert code == 0
    assert all(name in out for name in ("run", "packs", "ledger", "consent", "translate", "languages"))


def test_a_language_that_nothing_translates_into_is_refused_before_the_radio_is(
    command: Command, pack_store: PackStore, tmp_path: Path
) -> None:
    result = command("run", "--target", "xx", "--packs", pack_store.root, "--database", tmp_path / "phone.sqlite3")
    assert "nothing installed translates into xx" in one_line_error(result)
    assert result[0] == 6
