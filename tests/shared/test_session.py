"""Sessions turn what ONNX Runtime says into typed reasons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.errors import PackCorrupt, PackUnsupported
from shared.models.packs import PackStore
from shared.models.session import open_session


def test_a_model_shows_its_inputs_outputs_and_metadata(pack_store: PackStore) -> None:
    session = open_session(pack_store.get("ocr-small-rec").path("model.onnx"))
    assert len(session.input_names) == len(session.output_names) == 1
    assert session.output_shape()[-1] == 18710
    assert session.metadata["character"].startswith("!")
    (output,) = session.run({session.input_names[0]: np.zeros((1, 3, 48, 320), np.float32)})
    assert output.shape == (1, 40, 18710)


@pytest.mark.parametrize("data", [None, b"", b"no model at all"])
def test_a_file_that_is_no_model_is_a_corrupt_pack(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PackCorrupt, match=r"model\.onnx cannot be loaded") as caught:
        open_session(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 4, 48, 320), (1, 3, 48)])
def test_an_input_the_model_does_not_take_is_an_unsupported_pack(pack_store: PackStore, shape: tuple[int, ...]) -> None:
    session = open_session(pack_store.get("ocr-tiny-rec").path("model.onnx"))
    with pytest.raises(PackUnsupported, match="cannot run"):
        session.run({session.input_names[0]: np.zeros(shape, np.float32)})
    with pytest.raises(PackUnsupported):
        session.run({"nonsense": np.zeros((1, 3, 48, 320), np.float32)})
