"""Apertium is a process: found or not, bounded in time and output, and never a shell's."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import TranslatorFailed
from shared.limits import MAX_TEXT_CHARACTERS
from shared.models.apertium import ApertiumTranslator, installed_modes, installed_version, run_bounded

Program = Callable[[str], str]
INSTALLED = installed_modes()
needs_apertium = pytest.mark.skipif(
    ("es", "pt") not in INSTALLED, reason="Apertium with its Spanish-Portuguese data is not installed here"
)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Makes a program of a shell script; returns its path."""

    def make(body: str) -> str:
        path = tmp_path / "apertium"
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return make


def spanish(command: str, *, seconds: float = 5.0) -> ApertiumTranslator:
    return ApertiumTranslator("es-pt", ("es", "pt"), command=command, seconds=seconds)


def test_marked_words_are_counted_and_shown_without_their_marks(program: Program) -> None:
    answer = spanish(program("cat >/dev/null; echo 'A *gafas de #sol @nova 2*x1'")).translate("Las gafas de sol nuevas")
    assert answer.text == "A gafas de sol nova 2x1"
    assert (answer.unknown_tokens, answer.source_tokens) == (4, 5)
    assert answer.token_log_probabilities == ()


@pytest.mark.parametrize(
    "text",
    [
        "$(touch pwned) `id`; rm -rf /",
        "^perro<n>$ [<STREAMCMD:SETVAR:x>] {a} \\ ~ | @ #",
        "--help\n-d /",
        "a\x00b\ud800",
    ],
)
def test_text_reaches_the_program_on_its_standard_input_without_syntax_of_its_own(
    program: Program, tmp_path: Path, text: str
) -> None:
    command = program(f"printf '%s\\n' \"$@\" > {tmp_path}/arguments; cat")
    answer = spanish(command).translate(text)
    assert (tmp_path / "arguments").read_text() == "-n\nes-pt\n"
    assert not set(answer.text) & set("*@#^$[]{}<>\\|~\x00")
    assert not list(tmp_path.glob("pwned"))


def test_long_text_is_cut_at_the_cap_of_every_engine(program: Program) -> None:
    assert len(spanish(program("cat")).translate("agua " * 5000).text) <= MAX_TEXT_CHARACTERS


@pytest.mark.parametrize("text", ["", "  ", "*#@", "\x00"])
def test_nothing_is_asked_for_nothing(program: Program, tmp_path: Path, text: str) -> None:
    assert spanish(program(f"touch {tmp_path}/asked")).translate(text).text == ""
    assert not (tmp_path / "asked").exists()


def test_a_program_that_does_not_answer_is_ended_with_its_children(program: Program, tmp_path: Path) -> None:
    command = program(f"sleep 60 & echo $! > {tmp_path}/child; sleep 60 | cat")
    with pytest.raises(TranslatorFailed, match=r"did not answer within 0\.5 s"):
        spanish(command, seconds=0.5).translate("hola")
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while _runs(child) and time.monotonic() < deadline:
        pass
    assert not _runs(child)


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_that_answers_without_end_is_ended(program: Program) -> None:
    with pytest.raises(TranslatorFailed, match="answered more than 65536 bytes"):
        spanish(program("yes")).translate("hola")


@pytest.mark.parametrize(("body", "says"), [("exit 3", "status 3"), ("kill -9 $$", "status -9")])
def test_a_program_that_fails_is_one_typed_error(program: Program, body: str, says: str) -> None:
    with pytest.raises(TranslatorFailed, match=says):
        spanish(program(body)).translate("hola")


def test_a_program_that_is_not_there_is_one_typed_error(tmp_path: Path) -> None:
    with pytest.raises(TranslatorFailed, match="cannot be started"):
        run_bounded([str(tmp_path / "none")], "", seconds=1, max_bytes=10)
    assert installed_modes(str(tmp_path / "none")) == {}
    assert installed_version(str(tmp_path / "none")) == ""


def test_directions_are_those_it_lists_by_the_codes_wayword_uses(program: Program) -> None:
    listed = "  eng-spa\n  es-pt\n  es-pt_BR\n  spa-eng_US\n  xyz-spa\n  ;rm -rf\n  es-es\n  cat-fra-x\n  fra-cat\n"
    modes = installed_modes(program(f"printf '%s' '{listed}'"))
    assert modes == {("en", "es"): "eng-spa", ("es", "pt"): "es-pt", ("fr", "ca"): "fra-cat"}


def test_a_program_that_cannot_list_serves_nothing(program: Program) -> None:
    assert installed_modes(program("exit 1")) == {}


def test_only_names_of_directions_are_taken() -> None:
    with pytest.raises(ValueError, match="no direction"):
        ApertiumTranslator("-d /tmp", ("es", "pt"))


@needs_apertium
def test_the_installed_apertium_translates_and_says_what_it_does_not_know() -> None:
    translator = ApertiumTranslator(INSTALLED["es", "pt"], ("es", "pt"), version=installed_version(), seconds=50)
    answer = translator.translate("Prohibido aparcar")
    assert answer.text.lower().split()[0] == "proibido"
    assert answer.unknown_tokens == 0
    assert (translator.pack.name, translator.pack.version[:1]) == ("apertium-es-pt", "3")
    unknown = translator.translate("xqzvw")
    assert (unknown.text, unknown.unknown_tokens) == ("xqzvw", 1)


@needs_apertium
def test_hostile_text_does_no_harm_to_the_installed_apertium(tmp_path: Path) -> None:
    translator = ApertiumTranslator(INSTALLED["es", "pt"], ("es", "pt"), seconds=50)
    marker = tmp_path / "pwned"
    answer = translator.translate(f"casa $(touch {marker}) ^x<n>$ [<STREAMCMD:FLUSH>] \x00\u202e 🚭 خروج")
    assert "casa" in answer.text.lower()
    assert not marker.exists()
    assert os.sep in str(marker)
