"""The output folder: journal, published files, stored answers, lock."""
