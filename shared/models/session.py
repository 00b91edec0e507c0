"""A thin typed layer over ONNX Runtime: one place for its settings and its errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as native

from shared.errors import PackCorrupt, PackUnsupported, UsageError
from shared.models.device import Device

Tensor: TypeAlias = npt.NDArray[Any]

_NATIVE_ERRORS: Final = (
    native.EPFail,
    native.Fail,
    native.InvalidArgument,
    native.InvalidGraph,
    native.InvalidProtobuf,
    native.NoModel,
    native.NoSuchFile,
    native.NotImplemented,
    native.RuntimeException,
)
_LOG_FATAL_ONLY: Final = 4  # everything else comes back as an exception
_CPU: Final = "CPUExecutionProvider"
GPU_PROVIDERS: Final = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    "DmlExecutionProvider",
    "CoreMLExecutionProvider",
)
"""Those of ONNX Runtime that run on a GPU, the best first. Not TensorRT, which builds an engine for minutes for every
new width of a line."""


def gpu_provider() -> str | None:
    """The GPU provider that this build of ONNX Runtime offers; None where it has the CPU only."""
    offered = onnxruntime.get_available_providers()
    return next((provider for provider in GPU_PROVIDERS if provider in offered), None)


def providers_for(device: Device) -> tuple[str, ...]:
    """Execution providers, the preferred first.

    Raises:
        UsageError: a GPU is asked for, and this build of ONNX Runtime has no provider for one.
    """
    provider = None if device is Device.CPU else gpu_provider()
    if provider is not None:
        return (provider, _CPU)
    if device is Device.GPU:
        raise UsageError(
            "ONNX Runtime was built without a GPU provider",
            hint="install onnxruntime-gpu in place of onnxruntime, or use device auto",
        )
    return (_CPU,)


class OnnxSession:
    """One loaded model. `run` may be called from several threads.

    Args:
        path: the ``.onnx`` file.
        threads: threads that work on one call, on the CPU.
        device: what it runs on. A GPU that is there but does not work leaves AUTO on the CPU.

    Raises:
        PackCorrupt: the file is absent or no model.
        UsageError: a GPU is asked for and cannot be used.
    """

    def __init__(self, path: Path, *, threads: int = 1, device: Device = Device.CPU) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _LOG_FATAL_ONLY
        # The arena keeps the largest activation of every shape ever seen: about 300 MB more at equal speed.
        options.enable_cpu_mem_arena = False
        # Spinning workers take the core that another stage or another tier of the same machine needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        self._name = f"{path.parent.name}/{path.name}"
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=list(providers_for(device)))
        except _NATIVE_ERRORS as error:
            raise PackCorrupt(f"model {self._name} cannot be loaded: {_first_line(error)}") from error
        # ONNX Runtime falls back to the CPU by itself where the GPU's libraries or driver are missing.
        self.on_gpu: bool = self._session.get_providers()[0] != _CPU
        if device is Device.GPU and not self.on_gpu:
            raise UsageError("ONNX Runtime cannot use the GPU: its driver or libraries are missing")
        self.input_names: tuple[str, ...] = tuple(node.name for node in self._session.get_inputs())
        self.output_names: tuple[str, ...] = tuple(node.name for node in self._session.get_outputs())
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def output_shape(self, index: int = 0) -> tuple[int | None, ...]:
        """Declared shape of one output; None for a dimension that depends on the input."""
        shape = self._session.get_outputs()[index].shape
        return tuple(size if isinstance(size, int) else None for size in shape)

    def run(self, feeds: Mapping[str, Tensor]) -> list[Tensor]:
        """Run the model.

        Args:
            feeds: one array per input name, of the shape and dtype the model declares.

        Returns:
            One array per output name.

        Raises:
            PackUnsupported: the model does not take these inputs, or fails on them.
        """
        try:
            outputs: list[Tensor] = self._session.run(None, dict(feeds))
        except (*_NATIVE_ERRORS, ValueError) as error:
            raise PackUnsupported(f"model {self._name} cannot run: {_first_line(error)}") from error
        return outputs


def open_session(path: Path, *, threads: int = 1, device: Device = Device.CPU) -> OnnxSession:
    """Load a model; see `OnnxSession`."""
    return OnnxSession(path, threads=threads, device=device)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
