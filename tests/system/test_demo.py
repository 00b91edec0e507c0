"""The demo as a stranger runs it: real processes, real packs, a real Bluetooth stack on emulated air."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from shared.models.packs import PackStore
from simulations.results import SignResult
from simulations.signs import STYLES, render_sign

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

SIM = [sys.executable, "-m", "simulations"]


def picture(path: Path, *signs: tuple[str, ...]) -> Path:
    """A wall with some rendered signs on it."""
    wall = np.full((720, 1280, 3), (150, 160, 165), np.uint8)
    wall = np.asarray(cv2.randn(wall.copy(), (150, 160, 165), (6, 6, 6)), np.uint8)
    for index, lines in enumerate(signs):
        texture, _ = render_sign(lines, STYLES[index], size=48)
        y, x = 60 + index * 220, 140 + index * 60
        wall[y : y + texture.shape[0], x : x + texture.shape[1]] = texture
    assert cv2.imwrite(str(path), wall)
    return path


def demo(*arguments: str, out: Path, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*SIM, "demo", "--json", "--out", str(out), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=200,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def json_lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def report(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return document


def test_the_street_walk_is_translated(pack_store: PackStore, tmp_path: Path) -> None:
    signs = json_lines(demo(out=tmp_path))
    answers = {(sign["text"].replace("\n", " ").casefold(), sign["translation"].casefold()) for sign in signs}
    texts = " | ".join(text for text, _ in answers)
    for expected in ("saída de emergência", "prohibido fumar", "sortie de secours", "zutritt verboten", "立入禁止"):
        assert expected in texts
    assert ("saída de emergência", "emergency exit") in answers
    assert ("prohibido fumar", "no smoking") in answers
    assert all(sign["provisional_ms"] is not None for sign in signs)
    film = cv2.VideoCapture(str(tmp_path / "demo.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) > 100
    seconds = film.get(cv2.CAP_PROP_FRAME_COUNT) / film.get(cv2.CAP_PROP_FPS)
    film.release()
    # The walk takes 24.5 s; a machine too slow for it plays it in slow motion rather than in leaps.
    assert 20 < seconds < 150
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "data:image/webp;base64," in page or "data:image/jpeg;base64," in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_a_picture_is_translated_with_and_without_the_cloud(pack_store: PackStore, tmp_path: Path) -> None:
    sign = picture(tmp_path / "sign.png", ("Proibido estacionar",), ("O museu fecha", "às três horas"))
    with_cloud = json_lines(demo("--image", str(sign), out=tmp_path / "a"))
    alone = json_lines(demo("--image", str(sign), "--no-cloud", out=tmp_path / "b"))
    for signs in (with_cloud, alone):
        assert len(signs) == 2
        translated = " / ".join(one["translation"].casefold() for one in signs)
        assert "no parking" in translated
        assert "museum" in translated
    assert all(one["tier"] == "phone" and not one["escalated"] for one in alone)
    assert cv2.imread(str(tmp_path / "a" / "demo.png")) is not None
    before = cv2.imread(str(sign))
    after = cv2.imread(str(tmp_path / "b" / "demo.png"))
    assert before is not None
    assert after is not None
    assert np.abs(before.astype(int) - after.astype(int)).max() > 100


@pytest.mark.parametrize("faults", [("cloud:stop@3", "phone:kill@6"), ("glasses:kill@4",)])
def test_the_run_survives_dead_processes(pack_store: PackStore, tmp_path: Path, faults: tuple[str, ...]) -> None:
    done = demo(*(word for fault in faults for word in ("--fault", fault)), out=tmp_path)
    signs = json_lines(done)
    dead = {fault.partition(":")[0] for fault in faults}
    for name in dead:
        assert f"fault: killed {name}" in done.stderr
    for name in dead - {"cloud"}:  # the cloud is killed for good
        assert f"{name} ended unexpectedly (SIGKILL): started again" in done.stderr
    answered = [sign for sign in signs if sign["provisional_ms"] is not None]
    seen = " ".join(sign["text"] for sign in answered)
    # Signs from before and from after the fault.
    for expected in ("Prohibido fumar", "Sortie de secours", "Zutritt verboten"):
        assert expected.casefold() in seen.casefold()
    if "phone" in dead:  # signs sent by glasses that died are sent again under new numbers
        unanswered = [sign for sign in report(tmp_path)["signs"] if sign["provisional_ms"] is None]
        # A sign that the dead phone was reading is sent again if it is still in view when the phone is back; on a slow
        # machine the walker has passed it by then. Nothing else may stay without an answer.
        assert len(unanswered) <= 1
        assert all("delivered" in sign["timeline"] for sign in unanswered)


def test_every_decision_is_on_the_ledger(pack_store: PackStore, tmp_path: Path) -> None:
    from shared.clock import SystemClock
    from simulations.radio import LinkProfile
    from simulations.results import collect
    from simulations.system import SystemOptions, WaywordSystem

    async def play() -> tuple[list[SignResult], int]:
        options = SystemOptions(LinkProfile.parse("unshaped"), pack_store, cloud=False)
        sign = picture(tmp_path / "sign.png", ("Cuidado com o cão",))
        async with WaywordSystem(options, clock=SystemClock(), on_event=print, folder=tmp_path) as system:
            await system.play(["--image", str(sign)], out=tmp_path / "out.png")
            await system.supervisor.stop("phone")
            with sqlite3.connect(system.database) as database:
                (rows,) = database.execute("select count(*) from ledger").fetchone()
            database.close()
            return collect(system.events()), int(rows)

    import asyncio

    signs, rows = asyncio.run(play())
    assert len(signs) == rows == 1
    assert signs[0].reason


def children_of(out: Path) -> list[int]:
    """Processes that mention this run's output folder or that it started: none may be left."""
    left = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
                environment = (entry / "environ").read_bytes().decode("utf-8", "replace")
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
            if f"WAYWORD_TEST_RUN={out}" in environment and command:
                left.append(int(entry.name))
    return left


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.nightly),
        pytest.param(signal.SIGTERM, marks=pytest.mark.nightly),
        signal.SIGKILL,
    ],
)
def test_no_process_is_left_however_the_demo_ends(pack_store: PackStore, tmp_path: Path, how: signal.Signals) -> None:
    environment = {**os.environ, "WAYWORD_TEST_RUN": str(tmp_path)}
    command = [*SIM, "demo", "--out", str(tmp_path)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    ) as run:
        assert run.stderr is not None
        for line in run.stderr:
            if "→" in line:  # the first reading: everything is up
                break
        watches = [os.pidfd_open(pid) for pid in children_of(tmp_path) if pid != run.pid]
        assert len(watches) >= 6  # dbus-daemon, air, façade, cloud, phone, feed, glasses
        run.send_signal(how)
        run.stderr.read()
    import select

    pending = set(watches)
    while pending:
        ended = select.select(list(pending), [], [], 30)[0]
        assert ended, "processes outlived the demo"
        pending -= set(ended)
    for watch in watches:
        os.close(watch)
    assert children_of(tmp_path) == []


class TestBadInput:
    """One clear line, a non-zero exit code, no traceback, nothing half-written."""

    def refused(self, done: subprocess.CompletedProcess[str], out: Path, *words: str) -> None:
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        errors = [line for line in done.stderr.splitlines() if line.startswith("wayword-sim: error: ")]
        assert len(errors) == 1
        for word in words:
            assert word in errors[0]
        assert not out.is_dir()

    def test_a_missing_picture(self, pack_store: PackStore, tmp_path: Path) -> None:
        out = tmp_path / "out"
        self.refused(demo("--image", str(tmp_path / "no.jpg"), out=out, check=False), out, "no.jpg")

    def test_a_missing_video(self, pack_store: PackStore, tmp_path: Path) -> None:
        out = tmp_path / "out"
        self.refused(demo("--video", str(tmp_path / "no.mp4"), out=out, check=False), out, "no.mp4")

    def test_a_corrupt_picture(self, pack_store: PackStore, tmp_path: Path) -> None:
        out, bad = tmp_path / "out", tmp_path / "bad.jpg"
        bad.write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
        self.refused(demo("--image", str(bad), out=out, check=False), out, "bad.jpg")

    def test_a_corrupt_video(self, pack_store: PackStore, tmp_path: Path) -> None:
        out, bad = tmp_path / "out", tmp_path / "bad.mp4"
        bad.write_bytes(b"not a film" * 100)
        self.refused(demo("--video", str(bad), out=out, check=False), out, "bad.mp4")

    def test_a_picture_that_can_show_no_sign(self, pack_store: PackStore, tmp_path: Path) -> None:
        out, thin = tmp_path / "out", tmp_path / "thin.png"
        assert cv2.imwrite(str(thin), np.zeros((3, 4000, 3), np.uint8))
        self.refused(demo("--image", str(thin), out=out, check=False), out, "4000x3")

    def test_a_battery_that_makes_no_sense(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        self.refused(demo("--battery", "200", out=out, check=False), out, "200%", "0 to 100")

    def test_an_output_folder_that_is_a_file(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        out.write_text("precious")
        self.refused(demo(out=out, check=False), out, str(out), "it is a file", "--out")
        assert out.read_text() == "precious"

    def test_a_pack_with_a_wrong_hash(self, pack_store: PackStore, tmp_path: Path) -> None:
        out, store = tmp_path / "out", tmp_path / "packs"
        shutil.copytree(pack_store.root, store, symlinks=True)
        model = store / "ocr-tiny-det" / "model.onnx"
        damaged = bytearray(model.read_bytes())
        damaged[1000] ^= 0xFF
        model.write_bytes(damaged)
        done = demo("--packs", str(store), out=out, check=False)
        self.refused(done, out, "model.onnx of pack ocr-tiny-det has the wrong SHA-256", "packs install ocr-tiny-det")

    def test_a_picture_with_no_text(self, pack_store: PackStore, tmp_path: Path) -> None:
        out = tmp_path / "out"
        blank = picture(tmp_path / "blank.png")
        self.refused(demo("--image", str(blank), out=out, check=False), out, "no text", "blank.png")

    def test_packs_that_are_not_installed(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        done = demo("--packs", str(tmp_path / "empty"), out=out, check=False)
        self.refused(done, out, "not installed", "packs install")

    def test_no_dbus_daemon(self, pack_store: PackStore, tmp_path: Path) -> None:
        out = tmp_path / "out"
        self.refused(demo(out=out, check=False, PATH=str(tmp_path)), out, "dbus-daemon")

    def test_a_link_that_makes_no_sense(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        self.refused(demo("--link", "fast", out=out, check=False), out, "fast")
