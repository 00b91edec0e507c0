"""Sessions turn what ONNX Runtime says into typed reasons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.errors import PackCorrupt, PackUnsupported, UsageError
from shared.models.device import Device
from shared.models.packs import PackStore
from shared.models.session import open_session, providers_for


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


def offer(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [*providers, "CPUExecutionProvider"])


def test_auto_takes_the_best_gpu_provider_there_is_and_the_cpu_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(monkeypatch)
    assert providers_for(Device.AUTO) == ("CPUExecutionProvider",)
    offer(monkeypatch, "AzureExecutionProvider", "TensorrtExecutionProvider")
    assert providers_for(Device.AUTO) == ("CPUExecutionProvider",), "neither is one of ours"
    offer(monkeypatch, "ROCMExecutionProvider", "CUDAExecutionProvider")
    assert providers_for(Device.AUTO) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert providers_for(Device.CPU) == ("CPUExecutionProvider",)


def test_a_gpu_that_is_asked_for_and_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch)
    with pytest.raises(UsageError, match="without a GPU"):
        providers_for(Device.GPU)


def test_a_gpu_provider_that_does_not_work_leaves_auto_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, pack_store: PackStore
) -> None:
    """As ONNX Runtime does with CUDA where the driver is missing: it goes on with what works."""
    monkeypatch.setattr("shared.models.session.providers_for", lambda device: ("CPUExecutionProvider",))
    path = pack_store.get("ocr-cls").path("model.onnx")
    assert not open_session(path, device=Device.AUTO).on_gpu
    with pytest.raises(UsageError, match="cannot use the GPU"):
        open_session(path, device=Device.GPU)
