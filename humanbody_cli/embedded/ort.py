"""onnxruntime without its telemetry: the only module that imports it.

From 1.29 on onnxruntime writes a device id and queued events below ``~/.cache/Microsoft`` and sends
them to its vendor. ``ORT_DISABLE_TELEMETRY`` is read while the library is loaded, so it has to be
set before the import; ``disable_telemetry_events()`` comes too late. A program that imported
onnxruntime before hbseg has already made that choice.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

__all__ = ["onnxruntime"]
