"""The embedded engine: a bundled or user-given ONNX model on the CPU."""
