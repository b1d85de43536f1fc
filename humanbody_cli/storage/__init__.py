"""The output folder: journal, published files, kept answers, lock."""
