"""Bad input to `wayword-glasses` is one line and an exit code, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from glasses.cli import PROGRAM, main
from glasses.settings import GlassesSettings
from glasses.stabiliser.compiled import is_warm
from shared import cli
from shared.errors import UsageError


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = cli.run(PROGRAM, lambda: main([str(argument) for argument in arguments]))
    return code, capsys.readouterr().err


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "corrupt.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is not it")
    (tmp_path / "corrupt.mp4").write_bytes(b"this is not it" * 99)
    (tmp_path / "good.png").write_bytes(cv2.imencode(".png", np.zeros((40, 60, 3), np.uint8))[1].tobytes())
    (tmp_path / "thin.png").write_bytes(cv2.imencode(".png", np.zeros((3, 4000, 3), np.uint8))[1].tobytes())
    (tmp_path / "packs").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "nothing to look at"),
        (["--image", "missing.jpg"], 3, "no picture"),
        (["--image", "corrupt.jpg"], 3, "no picture that can be read"),
        (["--image", "thin.png"], 3, "4000x3 pixels"),
        (["--video", "missing.mp4"], 3, "no video"),
        (["--video", "corrupt.mp4"], 3, "no video that can be read"),
        (["--camera", "7777"], 3, "no camera 7777"),
        (["--scene", "unix:missing"], 3, "no scene"),
        (["--scene", "tcp:1234"], 2, "unix:PATH"),
        (["--image", "good.png", "--out", "out.mp4"], 2, "picture"),
        (["--image", "good.png", "--out", "missing/out.png"], 4, "no folder"),
        (["--image", "good.png", "--record", "good.png/strips"], 4, "cannot make the folder"),
        (["--image", "good.png", "--packs", "packs"], 5, "ocr-tiny-det"),
        (["--image", "good.png", "--config", "missing.toml"], 2, "no settings file"),
        (["--image", "good.png", "--answer-timeout", "-1"], 2, "answer_timeout_s"),
    ],
)
def test_bad_input_is_one_clear_line(
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(files)
    before = sorted(files.rglob("*"))
    found_code, error = _run(capsys, *arguments)
    assert found_code == code
    assert message in error
    # OpenCV's own decoders may add lines of theirs; ours is one, and no traceback.
    ours = [line for line in error.splitlines() if line.startswith(PROGRAM)]
    assert len(ours) == 1
    assert "Traceback" not in error
    assert sorted(files.rglob("*")) == before


def test_settings_come_from_the_command_line_then_the_environment_then_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "glasses.toml"
    config.write_text("strip_quality = 50\nstrip_height = 48\nanswer_timeout_s = 5.0\n")
    monkeypatch.setenv("WAYWORD_GLASSES_STRIP_HEIGHT", "96")
    monkeypatch.setenv("WAYWORD_GLASSES_ANSWER_TIMEOUT_S", "6")
    settings = GlassesSettings.load(config, answer_timeout_s=7)
    assert (settings.strip_quality, settings.strip_height, settings.answer_timeout_s) == (50, 96, 7)


@pytest.mark.parametrize("content", ["strip_quality = 500", "no_such_setting = 1", "strip_quality = ["])
def test_a_wrong_settings_file_is_refused(tmp_path: Path, content: str) -> None:
    config = tmp_path / "glasses.toml"
    config.write_text(content)
    with pytest.raises(UsageError):
        GlassesSettings.load(config)


def test_the_shown_settings_can_be_read_back(tmp_path: Path) -> None:
    config = tmp_path / "glasses.toml"
    config.write_text(GlassesSettings(strip_quality=33).as_toml())
    assert GlassesSettings.load(config).strip_quality == 33


@pytest.mark.timeout(240)  # the first run of a new checkout compiles
def test_warm_compiles_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--warm"]) == 0
    assert is_warm()
    capsys.readouterr()
    assert main(["--warm"]) == 0
    assert capsys.readouterr().err == ""
