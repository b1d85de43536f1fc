"""onnxruntime without its telemetry, and ONNX files as functions: the only module that imports it.

From 1.29 on onnxruntime writes a device id and queued events below ``~/.cache/Microsoft`` and sends
them to its vendor. ``ORT_DISABLE_TELEMETRY`` is read while the library is loaded, so it has to be
set before the import; ``disable_telemetry_events()`` comes too late. A program that imported
onnxruntime before hbseg has already made that choice.
"""

from __future__ import annotations

import contextlib
import os
import threading
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from humanbody_cli.core.errors import FatalError

_VARIABLE = "ORT_DISABLE_TELEMETRY"
_before = os.environ.get(_VARIABLE)
os.environ[_VARIABLE] = "1"

import onnxruntime  # noqa: E402 - the variable comes first

# The environment belongs to the program that uses hbseg, and what it starts.
if _before is None:
    del os.environ[_VARIABLE]
else:
    os.environ[_VARIABLE] = _before

_FLOATS: dict[str, Any] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxFile:
    """A model file with one picture input, N x 3 x H x W or N x H x W x 3.

    Safe to share between threads. The session is created once, when first needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    @cached_property
    def _opened(self) -> Any:
        if not self.path.is_file():
            raise FatalError(f"there is no model file {self.path}; check --model")
        try:
            session = onnxruntime.InferenceSession(
                str(self.path), _options(), providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no other base class
            raise FatalError(
                f"{self.path} is not a model that can be run: {_first(error)}; check --model"
            ) from None
        self._check_input(session)
        return session

    @property
    def session(self) -> Any:
        """The onnxruntime session.

        Raises:
            FatalError: the file is missing, or is not a model with one picture input.
        """
        with self._lock:
            return self._opened

    def _check_input(self, session: Any) -> None:
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise FatalError(
                f"{self.path} has {len(inputs)} inputs; a model with one input is needed; "
                "give another --model"
            )
        shape = inputs[0].shape
        if inputs[0].type not in _FLOATS or len(shape) != 4 or 3 not in (shape[1], shape[3]):
            raise FatalError(
                f"{self.path} takes {inputs[0].type} {shape}; an image input of "
                "N x 3 x H x W or N x H x W x 3 is needed; give another --model"
            )

    @property
    def input_shape(self) -> list[int | str | None]:
        """The input's four dimensions; those that are not numbers are free."""
        return list(self.session.get_inputs()[0].shape)

    @property
    def channels_first(self) -> bool:
        """Whether the input is N x 3 x H x W, rather than N x H x W x 3."""
        return self.input_shape[1] == 3

    def outputs(self, picture: NDArray[np.float32]) -> list[Any]:
        """All outputs for one picture in the model's own layout, [1, 3, h, w] or [1, h, w, 3].

        Raises:
            FatalError: the model fails.
        """
        session = self.session
        taken = session.get_inputs()[0]
        try:
            found = session.run(
                None, {taken.name: np.ascontiguousarray(picture, _FLOATS[taken.type])}
            )
        except Exception as error:  # noqa: BLE001 - as above
            raise FatalError(
                f"{self.path} failed on a picture: {_first(error)}; check --model"
            ) from None
        return list(found)


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    # Photos are spread over the cores, one per thread: each inference stays on one.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # Both bundled models share one arena, and no memory is planned ahead for each thread: with two
    # threads that is 35 MB less, and not slower.
    _share_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    return options


@cache
def _share_arena() -> None:
    """Register the arena that all sessions of this process allocate from."""
    kind, use = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    # It fails if a program that uses hbseg has registered an arena: that one is used then.
    with contextlib.suppress(Exception):
        onnxruntime.create_and_register_allocator(
            onnxruntime.OrtMemoryInfo("Cpu", kind, 0, use), None
        )


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
