"""The virtual machine for the link tests is put together as it should be, and says what it lacks."""

from __future__ import annotations

import gzip
import lzma
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import RadioError, UsageError
from simulations.radio import RadioProcesses
from simulations.radio.stack import BLUETOOTHD_VARIABLE, STACK_VARIABLE, RadioStack
from simulations.radio.vm import machine, parts, suite
from simulations.radio.vm.__main__ import main
from simulations.radio.vm.errors import MachineFailed, MachineUnavailable
from simulations.radio.vm.initrd import CpioArchive, build
from simulations.radio.vm.modules import WANTED, load_order

ROOT = Path(__file__).resolve().parents[2]
Say = Callable[[str], None]


def make_module(folder: Path, name: str, *depends: str, packed: bool = False) -> Path:
    """A file with the part of a kernel module that is read here."""
    folder.mkdir(parents=True, exist_ok=True)
    image = b"\x7fELF\0license=GPL\0depends=" + ",".join(depends).encode() + b"\0name=" + name.encode() + b"\0"
    path = folder / f"{name}.ko{'.xz' if packed else ''}"
    path.write_bytes(lzma.compress(image) if packed else image)
    return path


def make_kernel(root: Path, release: str, names: tuple[str, ...] = WANTED) -> Path:
    """A kernel with modules that depend on nothing."""
    (root / "boot").mkdir(parents=True, exist_ok=True)
    (root / "boot" / f"vmlinuz-{release}").write_bytes(b"kernel")
    modules = root / "lib/modules" / release
    for name in names:
        make_module(modules / "kernel", name)
    return modules


def make_program(path: Path, content: bytes = b"\x7fELF static") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


@pytest.fixture
def some_parts(tmp_path: Path) -> parts.MachineParts:
    """Parts that exist, with a shell script in QEMU's place that a test writes."""
    modules = make_kernel(tmp_path, "6.1.0-1-amd64")
    return parts.MachineParts(
        qemu=make_program(tmp_path / "qemu", b"#!/bin/sh\n"),
        kernel=tmp_path / "boot/vmlinuz-6.1.0-1-amd64",
        modules=modules,
        bluetoothd=tmp_path / "bluetoothd",
        busybox=make_program(tmp_path / "bin/busybox"),
    )


# Kernel modules -----------------------------------------------------------------------------------------


def test_a_module_is_loaded_once_and_after_all_it_depends_on(tmp_path: Path) -> None:
    make_module(tmp_path / "net", "bluetooth", "ecdh_generic", "rfkill")
    make_module(tmp_path / "net", "rfkill")
    make_module(tmp_path / "crypto", "ecdh-generic", "ecc", packed=True)
    make_module(tmp_path / "crypto", "ecc")
    make_module(tmp_path / "drivers", "hci_vhci", "bluetooth", "rfkill")
    names = [path.name for path in load_order(tmp_path, ["hci_vhci", "bluetooth"])]
    assert names == ["ecc.ko", "ecdh-generic.ko.xz", "rfkill.ko", "bluetooth.ko", "hci_vhci.ko"]


def test_what_the_kernel_has_built_in_is_not_loaded(tmp_path: Path) -> None:
    make_module(tmp_path, "overlay", "crc16")
    (tmp_path / "modules.builtin").write_text("kernel/lib/crc16.ko\nkernel/drivers/virtio-pci.ko\n")
    assert [path.name for path in load_order(tmp_path, ["virtio_pci", "overlay"])] == ["overlay.ko"]


def test_a_module_that_is_missing_is_named_with_what_needs_it(tmp_path: Path) -> None:
    make_module(tmp_path, "bluetooth", "rfkill")
    with pytest.raises(MachineUnavailable, match="no module rfkill, which bluetooth needs"):
        load_order(tmp_path, ["bluetooth"])


def test_modules_in_a_circle_are_refused(tmp_path: Path) -> None:
    make_module(tmp_path, "a", "b")
    make_module(tmp_path, "b", "a")
    with pytest.raises(MachineUnavailable, match="depend on each other: a, b, a"):
        load_order(tmp_path, ["a"])


# Parts --------------------------------------------------------------------------------------------------


def test_a_missing_emulator_skips_the_run_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["--cache", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "skipped: qemu-system-x86_64 is not installed (apt install qemu-system-x86)\n"
    with pytest.raises(MachineUnavailable, match="qemu-system-x86_64"):
        main(["--require", "--cache", str(tmp_path)])


def test_parts_that_cannot_be_downloaded_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineUnavailable, match="bluez, busybox-static not installed, and without apt"):
        parts.fetch(["bluez", "busybox-static"], tmp_path, print)


def test_a_download_that_fails_is_told_in_the_words_of_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    make_program(programs / "apt-get", b"#!/bin/sh\necho 'E: Unable to locate package bluez' >&2\nexit 100\n")
    make_program(programs / "dpkg", b"#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(programs))
    said: list[str] = []
    with pytest.raises(MachineUnavailable, match="apt-get download failed: E: Unable to locate package bluez"):
        parts.fetch(["bluez"], tmp_path / "cache", said.append)
    assert said == ["downloading bluez"]
    assert list((tmp_path / "cache/tree").iterdir()) == []


def test_the_newest_kernel_that_has_every_module_is_taken(tmp_path: Path) -> None:
    make_kernel(tmp_path, "6.1.0-9-amd64")
    wanted = make_kernel(tmp_path, "6.1.0-56-amd64")
    make_kernel(tmp_path, "6.12.1-cloud-amd64", names=WANTED[:3])
    assert parts.find_kernel([tmp_path / "nothing", tmp_path]) == (tmp_path / "boot/vmlinuz-6.1.0-56-amd64", wanted)


def test_a_busybox_that_needs_libraries_is_passed_over(tmp_path: Path) -> None:
    make_program(tmp_path / "a/bin/busybox", b"\x7fELF" + bytes(600) + b"/lib64/ld-linux-x86-64.so.2\0")
    static = make_program(tmp_path / "b/bin/busybox")
    assert parts.find_busybox([tmp_path / "a", tmp_path / "b"]) == static


# The machine --------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cpio") is None, reason="cpio is not installed")
def test_cpio_unpacks_the_archive(tmp_path: Path) -> None:
    archive = CpioArchive()
    archive.add("bin", mode=0o040755)
    archive.add("bin/odd", b"12345", mode=0o100755)
    archive.add("empty", mode=0o100644)
    subprocess.run(["cpio", "--extract", "--quiet"], input=archive.finish(), cwd=tmp_path, check=True)
    assert (tmp_path / "bin/odd").read_bytes() == b"12345"
    assert os.access(tmp_path / "bin/odd", os.X_OK)
    assert (tmp_path / "empty").read_bytes() == b""


def test_the_initial_file_system_has_the_modules_in_their_order(some_parts: parts.MachineParts) -> None:
    image = gzip.decompress(build(some_parts))
    positions = [image.index(f"modules/{number:02}-{name}.ko\0".encode()) for number, name in enumerate(WANTED)]
    assert positions == sorted(positions)
    assert b"#!/bin/busybox sh" in image


def test_the_host_is_shared_read_only_and_only_the_results_can_be_written(some_parts: parts.MachineParts) -> None:
    command = machine.qemu_command(some_parts, Path("initrd"), Path("/out,put"), machine.MachineOptions())
    shares = [command[at + 1] for at, word in enumerate(command) if word == "-fsdev"]
    assert "readonly=on" in shares[0]
    assert shares[0].startswith("local,id=host,path=/,")
    assert "path=/out,,put," in shares[1]
    assert "readonly" not in shares[1]
    assert command[command.index("-accel") + 1] == "tcg"


def test_a_command_reaches_the_guest_as_it_was_given(some_parts: parts.MachineParts, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "a b", "$HOME", "it's"]
    machine.write_job(tmp_path, command, environment={"X": "y z"}, work=tmp_path)
    result = subprocess.run(["sh", str(tmp_path / "command.sh")], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == str(["a b", "$HOME", "it's"])
    environment = machine.guest_environment(some_parts)
    assert environment[STACK_VARIABLE] == "bluetoothd"
    assert environment[BLUETOOTHD_VARIABLE] == str(some_parts.bluetoothd)
    assert environment["PATH"].startswith(str(Path(sys.executable).parent))


def run_with(some_parts: parts.MachineParts, results: Path, script: str, *, deadline: float = 20.0) -> list[str]:
    """Run the machine with a shell script in QEMU's place; returns what the console showed and the exit code."""
    some_parts.qemu.write_text(f"#!/bin/sh\n{script}\n")
    results.mkdir()
    lines: list[str] = []
    options = machine.MachineOptions(deadline_s=deadline)
    outcome = machine.run(some_parts, ["true"], results=results, work=ROOT, options=options, on_line=lines.append)
    return [*lines, str(outcome.exit_code)]


def test_the_console_is_passed_on_and_the_exit_code_is_the_commands(
    some_parts: parts.MachineParts, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    script = f"echo wayword-vm: booted; printf '1 passed\\r\\nend'; echo 5 > {results}/exit-code"
    assert run_with(some_parts, results, script) == ["1 passed", "end", "5"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo wayword-vm: kernel module x cannot be loaded", "ended before it had booted"),
        ("echo wayword-vm: booted", "ended without a result"),
        ("exec sleep 100", "did not boot within 0.5 s"),
    ],
)
def test_a_machine_that_does_not_do_its_work_is_reported_and_gone(
    some_parts: parts.MachineParts, tmp_path: Path, script: str, message: str
) -> None:
    results = tmp_path / "results"
    pid = tmp_path / "pid"
    deadline = 0.5 if "sleep" in script else 20.0
    with pytest.raises(MachineFailed, match=message):
        run_with(some_parts, results, f"echo $$ > {pid}; {script}", deadline=deadline)
    if pid.exists():  # with a short deadline it may be killed before its first line
        assert not Path("/proc", pid.read_text().strip()).exists()


def test_a_machine_that_works_on_past_its_deadline_is_reported() -> None:
    with subprocess.Popen(["sh", "-c", "echo wayword-vm: booted; exec sleep 100"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 30)[0]  # its line is there, so only the end can be missing
        with pytest.raises(MachineFailed, match="did not end within"):
            machine.follow_console(process, time.monotonic(), machine.MachineOptions(deadline_s=0.5), print)
        process.kill()


# The command and the stack ------------------------------------------------------------------------------


def test_arguments_are_pytests_and_a_named_file_replaces_the_suite() -> None:
    everything = suite.pytest_command(["-k", "bulk"], ROOT)
    assert "tests/system/test_link_ble.py" in everything
    assert everything[-2:] == ["-k", "bulk"]
    one = suite.pytest_command(["tests/system/test_link_ble.py::test_x", "-x"], ROOT)
    assert "tests/simulations/test_radio_link.py" not in one


def test_every_excluded_test_exists() -> None:
    for test in suite.EXCLUDED:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_an_order_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a command is given"):
        main(["-x", "--", "true"])
    with pytest.raises(UsageError, match="--deadline"):
        main(["--deadline", "0"])


def test_the_facade_is_the_stack_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(STACK_VARIABLE, raising=False)
    assert RadioStack.configured() is RadioStack.FACADE
    monkeypatch.setenv(STACK_VARIABLE, "windows")
    with pytest.raises(UsageError, match="windows names no Bluetooth stack"):
        RadioStack.configured()


def test_bluetoothd_is_not_started_on_a_machine_that_is_somebodys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STACK_VARIABLE, "bluetoothd")
    with pytest.raises(RadioError, match="only in the radio's virtual machine"), RadioProcesses():
        pass


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_a_peripheral_is_met_through_the_real_bluetoothd(tmp_path: Path) -> None:
    named = ["tests/simulations/test_radio_link.py", "-k", "bleak_does"]
    arguments = ["--require", "--deadline", "1500", "--results", str(tmp_path), *named]
    try:
        assert main(arguments) == 0
    except MachineUnavailable as error:
        pytest.skip(str(error))
    assert 'tests="1"' in (tmp_path / "junit.xml").read_text(encoding="utf-8")
