"""One module per command: its options and its help; the work is done in ``jobs/``."""
