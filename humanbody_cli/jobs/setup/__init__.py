"""Which parts a run or a library call is made of, the checks of its settings, the event loop."""
