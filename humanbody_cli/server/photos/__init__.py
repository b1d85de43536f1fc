"""One photo of a call: its download, and its way through the engine."""
