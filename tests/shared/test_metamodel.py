"""The metamodel that ships, and packs that are not what they should be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evidence_kit import line_of, sign_of
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import PackCorrupt, PackError, PackUnsupported, SignalsInvalid, StorageError
from shared.models.cascade_pack import BUILTIN, DOCUMENT_NAME, MODEL_NAME, read_document
from shared.models.installer import install_from
from shared.models.manifest import MANIFEST_NAME, Task, describe_file
from shared.models.metamodel import Estimate, Metamodel
from shared.models.packs import PackStore
from shared.models.sign_features import RECOGNISERS
from shared.models.sources import FolderSource

chance = st.floats(0, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the pack that ships."""
    return Path(shutil.copytree(BUILTIN, tmp_path / "cascade"))


def signed(folder: Path, **changes: Any) -> Path:
    """The folder with a manifest that fits its files, changed."""
    path = folder / MANIFEST_NAME
    document = json.loads(path.read_bytes())
    for file in document["files"]:
        actual = describe_file(folder / file["name"])
        file.update(sha256=actual.sha256, size=actual.size)
    path.write_text(json.dumps({**document, **changes}), encoding="utf-8")
    return folder


def edited(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    """The folder with another `cascade.json`."""
    path = folder / DOCUMENT_NAME
    document = json.loads(path.read_bytes())
    edit(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    return signed(folder)


def test_the_pack_that_ships_knows_the_recognisers_of_the_phone() -> None:
    assert Metamodel.builtin().recognisers == set(RECOGNISERS)


@pytest.mark.parametrize("recogniser", RECOGNISERS)
def test_an_estimate_is_three_chances_that_add_up(recogniser: str) -> None:
    for sign in (sign_of(recogniser=recogniser), sign_of(line_of(recognition=0.1), recogniser=recogniser)):
        found = Metamodel.builtin().estimate(sign)
        assert 0 <= found.helped <= 1 - found.right + 1e-6
        assert 0 <= found.harmed <= found.right + 1e-6
        assert found.gain == found.helped - found.harmed


def test_a_clear_sign_is_more_likely_right_than_a_doubtful_one() -> None:
    clear = Metamodel.builtin().estimate(sign_of())
    doubtful = line_of(characters=(0.6, 0.3, 0.5), recognition=0.2, known_words=0.0, height_px=12.0)
    assert clear.right > Metamodel.builtin().estimate(sign_of(doubtful)).right + 0.3


@settings(max_examples=30, deadline=None)
@given(
    characters=st.lists(chance, min_size=1, max_size=5),
    recognition=chance,
    translation=chance,
    rise=chance,
    recogniser=st.sampled_from(RECOGNISERS),
    data=st.data(),
)
def test_more_confidence_never_makes_a_reading_less_likely_right(
    characters: list[float], recognition: float, translation: float, rise: float, recogniser: str, data: st.DataObject
) -> None:
    line = line_of(characters=tuple(characters), recognition=recognition)
    before = sign_of(line, translation=translation, recogniser=recogniser)
    which = data.draw(st.sampled_from(("character", "recognition", "translation")))
    if which == "character":
        place = data.draw(st.integers(0, len(characters) - 1))
        characters[place] = max(characters[place], rise)
        after = replace(before, lines=(replace(line, characters=tuple(characters)),))
    elif which == "recognition":
        after = replace(before, lines=(replace(line, recognition=max(recognition, rise)),))
    else:
        after = replace(before, translation=max(translation, rise))
    model = Metamodel.builtin()
    # Sums of float32 in another order may differ in their last digits.
    assert model.estimate(after).right >= model.estimate(before).right - 1e-6


def test_impossible_evidence_is_refused() -> None:
    with pytest.raises(SignalsInvalid):
        Metamodel.builtin().estimate(sign_of(line_of(recognition=float("nan"))))


def test_a_recogniser_it_was_not_trained_with_is_refused_not_guessed() -> None:
    with pytest.raises(SignalsInvalid, match="ocr-of-somebody"):
        Metamodel.builtin().estimate(sign_of(recogniser="ocr-of-somebody"))
    assert Metamodel.builtin().certificate_of("ocr-of-somebody") is None


def test_certificates_say_what_they_promise() -> None:
    model = Metamodel.builtin()
    assert all(model.certificate_of(recogniser) is model.certificates[recogniser] for recogniser in RECOGNISERS)
    for certificate in model.certificates.values():
        if certificate is not None:
            assert certificate.errors <= certificate.alpha * certificate.kept
            assert certificate.covers(certificate.threshold)
            assert not certificate.covers(certificate.threshold - 0.01)


def test_trust_tells_recognisers_apart_before_anything_is_read() -> None:
    model = Metamodel.builtin()
    for language in ("pt", "ja", "xx", None):
        found = model.trust(language)
        assert set(found) == set(RECOGNISERS)
        assert all(0 < p < 1 for p in found.values())
    # The tiny recogniser has no kana.
    japanese = model.trust("ja")
    assert japanese["ocr-small-rec"] > japanese["ocr-tiny-rec"]
    for worse, better in (({"height_px": 9.0}, {"height_px": 40.0}), ({"sharpness": 0.1}, {"sharpness": 0.5})):
        assert all(model.trust("pt", **better)[pack] >= model.trust("pt", **worse)[pack] for pack in RECOGNISERS)


@pytest.mark.parametrize("fault", [{"brightness": 1.5}, {"sharpness": float("nan")}, {"height_px": -1.0}])
def test_trust_refuses_impossible_numbers(fault: dict[str, float]) -> None:
    with pytest.raises(SignalsInvalid):
        Metamodel.builtin().trust("pt", **fault)


def test_a_pack_of_another_encoding_is_refused(folder: Path) -> None:
    with pytest.raises(PackUnsupported, match="encoding 2"):
        Metamodel.load(signed(folder, encoding_version=2))


def test_a_pack_for_another_task_is_refused(folder: Path) -> None:
    with pytest.raises(PackUnsupported, match="not for the cascade"):
        Metamodel.load(signed(folder, task=Task.DETECTION.value))


@pytest.mark.parametrize("name", [MODEL_NAME, DOCUMENT_NAME])
def test_a_damaged_file_is_found_by_its_hash(folder: Path, name: str) -> None:
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(PackCorrupt, match=name):
        Metamodel.load(folder)


def test_a_missing_file_and_a_missing_manifest_are_found(folder: Path) -> None:
    (folder / MODEL_NAME).unlink()
    with pytest.raises(PackCorrupt):
        Metamodel.load(folder)
    (folder / MANIFEST_NAME).unlink()
    with pytest.raises(PackCorrupt):
        Metamodel.load(folder)


def test_a_graph_that_is_none_is_corrupt_and_one_of_other_inputs_unsupported(folder: Path) -> None:
    (folder / MODEL_NAME).write_bytes(b"no graph")
    with pytest.raises(PackCorrupt):
        Metamodel.load(signed(folder))
    other = BUILTIN.parent / "script.onnx"
    shutil.copy(other, folder / MODEL_NAME)
    with pytest.raises(PackUnsupported, match="inputs or outputs"):
        Metamodel.load(signed(folder))


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], type[PackError]]] = {
    "another version": (lambda document: document.update(version=2), PackUnsupported),
    "other features": (lambda document: document["features"].reverse(), PackUnsupported),
    "no features": (lambda document: document.pop("features"), PackCorrupt),
    "an impossible certificate": (
        lambda document: document["certificates"].update(
            {RECOGNISERS[0]: {"threshold": 2.0, "alpha": 0.05, "delta": 0.05, "kept": 1, "errors": 0, "total": 1}}
        ),
        PackCorrupt,
    ),
    "a trust model without a usual height": (
        lambda document: document["trust"][RECOGNISERS[0]].update(usual_height=0.0),
        PackCorrupt,
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_document_that_is_not_what_it_should_be_is_refused(folder: Path, name: str) -> None:
    edit, error = EDITS[name]
    with pytest.raises(error):
        Metamodel.load(edited(folder, edit))


def test_an_installed_pack_takes_the_place_of_the_one_that_ships(folder: Path, tmp_path: Path) -> None:
    store = PackStore(tmp_path / "store")
    assert Metamodel.installed(store) is Metamodel.builtin()
    install_from(store, FolderSource(signed(folder, version="mine")))
    assert Metamodel.installed(store).pack.version == "mine"
    assert isinstance(Metamodel.installed(store).estimate(sign_of()), Estimate)


def test_a_folder_that_cannot_be_read_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).mkdir()
    with pytest.raises(StorageError):
        Metamodel.load(tmp_path)


@pytest.mark.parametrize("numbers", [0, 2])
def test_a_graph_that_gives_other_than_one_number_is_no_crash(numbers: int) -> None:
    class Odd:
        def run(self, inputs: object) -> list[np.ndarray[tuple[int], np.dtype[np.float32]]]:
            return [np.full(numbers, 0.5, np.float32)] * 3

    pack = Metamodel.builtin().pack
    model = Metamodel(pack, Odd(), read_document(pack))  # type: ignore[arg-type]
    with pytest.raises(SignalsInvalid, match="one number"):
        model.estimate(sign_of())
