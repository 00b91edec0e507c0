"""Fixtures every tier's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.models.packs import PackStore, default_store_root


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
