"""As in an installation without developers' tools: not there. See `waiting.COMMAND_PATH`."""

raise ImportError("rich is not part of an installation")
