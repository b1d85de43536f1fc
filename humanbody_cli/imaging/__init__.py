"""Bytes and pixels: pure functions over pictures, masks and PNG files."""
