"""The command `wayword-phone`: what it prints, and one clear line for everything that goes wrong."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from phone import cli
from phone.cascade.policy import Decision, Recogniser, Rule, Signals
from phone.database import Database
from phone.languages import describe, offline_directions
from phone.ledger import Consent, Ledger, Outcome, Sign
from shared.clock import SystemClock
from shared.models.manifest import Task
from shared.models.packs import PackStore
from shared.models.phrasebook import Phrasebook
from shared.models.recognition import TextRecogniser
from shared.models.sign_translation import SignTranslator, TranslationEngine

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
    code, out, _ = command("languages", "--packs", tmp_path)
    assert code == 0
    assert "pt -> en" in out
    assert "any text" not in out
    assert "signs not readable: no recogniser is installed" in out


def test_the_languages_listed_are_the_ones_that_work_offline(pack_store: PackStore, command: Command) -> None:
    code, out, _ = command("languages", "--check", "--packs", pack_store.root)
    assert code == 0
    assert "(nothing)" not in out
    lines = {line.split("  ")[0]: line for line in out.splitlines() if not line.startswith(" ")}
    assert "any text (mt-pt-en)" in lines["pt -> en"]
    assert "any text (mt-en-pt)" in lines["en -> pt"]
    assert "signs readable" in lines["ja -> en"]
    assert "common signs only" in lines["ja -> en"]
    assert "signs not readable offline" in lines["ko -> en"]


def test_each_declared_direction_translates_with_what_is_installed(pack_store: PackStore) -> None:
    from phone.reading import load_translators

    phrasebook = Phrasebook.builtin()
    manifests = pack_store.installed()
    alphabets = {
        manifest.name: TextRecogniser.load(pack_store.get(manifest.name)).alphabet
        for manifest in manifests
        if manifest.task is Task.RECOGNITION
    }
    directions = offline_directions(manifests, phrasebook, alphabets)
    assert {("pt", "en"), ("en", "pt")} <= {(item.source, item.target) for item in directions}
    assert {item.source for item in directions if item.target == "en"} >= set(phrasebook.languages)
    translators = load_translators(pack_store)
    translator = SignTranslator(phrasebook, translators)
    for item in directions:
        result = translator.translate_sign([item.sample], source=item.source, target=item.target)
        assert result.translation, describe(item)
        assert result.engine in {TranslationEngine.PHRASEBOOK, TranslationEngine.TRANSLATOR}
        assert (item.pack is not None) == ((item.source, item.target) in translators)


def _fill(path: Path) -> None:
    database = Database(path)
    ledger = Ledger(database, clock=SystemClock())
    signals = Signals(0.4, 1.0, 0.9, 0.8, None, Recogniser.TINY, None, 5_000)
    ledger.record(
        Sign(1, 1, "copy", "", "en", "24"), signals, Decision(False, Rule.SURE, "sure enough: 99% right", 0, 0.03)
    )
    row = ledger.record(
        Sign(1, 2, "translator", "pt", "en", "Saída"), signals, Decision(True, Rule.UNSURE, "unsure", 0.3, 0.03)
    )
    ledger.close_call(row, Outcome.REFINED, bytes_out=5_000, cloud_ms=200)
    database.close()


def test_the_ledger_shows_what_left_and_why(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "phone.sqlite3"
    assert command("ledger", "--database", path)[0] == 0
    assert not path.exists()  # looking makes nothing
    _fill(path)
    code, out, _ = command("ledger", "--database", path)
    assert code == 0
    kept, left, total = out.splitlines()
    assert "stayed here  sure enough: 99% right" in kept
    assert "5000 B left  unsure -> refined" in left
    assert total == "2 decisions shown; 5000 bytes left the phone today (UTC)"
    code, out, _ = command("ledger", "--database", path, "--json", "--limit", "1")
    record = json.loads(out)
    assert (record["escalate"], record["bytes_out"], record["outcome"]) == (True, 5_000, "refined")
    assert record["text"] is None


def test_a_ledger_that_cannot_be_read_is_one_clear_line(tmp_path: Path, command: Command) -> None:
    path = tmp_path / "phone.sqlite3"
    path.write_bytes(b"no database" * 1_000)
    assert "phone.sqlite3" in one_line_error(command("ledger", "--database", path))
    assert "--limit" in one_line_error(command("ledger", "--database", path, "--limit", "0"))


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
    config.write_text('cloud = "localhost:1"\nbattery = 50\ntarget = "pt"\nexpected_languages = ["fr", "de"]\n')
    monkeypatch.setenv("WAYWORD_PHONE_BATTERY", "40")
    code, out, _ = command("run", "--config", config, "--target", "fr", "--show-settings")
    assert code == 0
    settings = tomllib.loads(out)
    assert (settings["target"], settings["battery"], settings["cloud"]) == ("fr", 40, "localhost:1")
    assert settings["expected_languages"] == ["fr", "de"]
    assert settings["cloud_use"] == "allow"
    _, out, _ = command("run", "--config", config, "--no-cloud", "--show-settings")
    assert "cloud" not in tomllib.loads(out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--battery", "101"], "battery"),
        (["--target", "English"], "target"),
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
