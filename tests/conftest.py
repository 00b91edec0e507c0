"""Fixtures every tier's tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from shared.models.packs import PackStore, default_store_root

REALTIME: Final = (
    "tests/system/",
    "tests/simulations/test_radio_",
    "tests/simulations/test_supervisor.py",
    "tests/simulations/test_bench_",
    "tests/glasses/test_firmware",
    "tests/glasses/test_glasses_pairing.py",
    "tests/glasses/test_peripheral.py",
    "tests/glasses/test_stabiliser_process.py",
    "tests/glasses/test_tuning.py",
    "tests/phone/test_central.py",
    "tests/phone/test_phone_pairing.py",
    "tests/phone/test_phone_serve.py",
    "tests/cloud/test_cloud_front_connections.py",
    "tests/cloud/test_cloud_process.py",
    "tests/cloud/test_cloud_service.py",
)
"""Tests of processes and radios, which wait for real time to pass: two of them at once would disturb each other."""
PURE: Final = tuple(
    f"tests/simulations/test_{name}.py"
    for name in (
        "bench_cascade",
        "bench_cascade_command",
        "bench_cloud",
        "bench_decisions",
        "bench_detection",
        "bench_lines",
        "bench_phrases",
        "bench_reading",
        "bench_stabiliser_measures",
        "bench_stabiliser_reports",
        "bench_translation_engines",
        "radio_conditions",
        "radio_profile",
    )
)
"""Named like those, but without processes, radios or waiting."""

MAX_BYTES_IN_NAME: Final = 8


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test` runs one at a time; everything else fills all cores."""
    root = Path(__file__).resolve().parent.parent
    for item in items:
        path = item.path.relative_to(root).as_posix()
        if path.startswith(REALTIME) and path not in PURE:
            item.add_marker(pytest.mark.realtime)


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Long bytes are named by their length: what is in them may change with the clock, as gzip's header does, and two
    workers that name a test differently run nothing at all."""
    del config, argname
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > MAX_BYTES_IN_NAME else None


@pytest.fixture(scope="session")
def pack_store() -> PackStore:
    """The store of the machine with all default packs in it; installs what is missing from the package index."""
    from phone.packs_cli import install_default_packs

    store = PackStore(default_store_root())
    install_default_packs(store)
    return store


@pytest.fixture(scope="session")
def shared_material() -> Path:
    """The folder of photos, corpora and recorded translations that stands beside the checkout."""
    folder = Path(__file__).resolve().parent.parent.parent / "shared"
    if not (folder / "photos" / "ground_truth.json").is_file():
        pytest.skip(f"no test material at {folder}: it stands beside the checkout on developers' machines only")
    return folder
