"""The journal's SQLite file: how it is opened and checked, and its table of runs."""
