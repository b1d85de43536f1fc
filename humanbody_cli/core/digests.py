"""A set of texts that only has to tell which it has met: digests in one block of memory."""

from __future__ import annotations

_SIZE = 16
_EMPTY = bytes(_SIZE)
_SLOTS = 256


class Digests:
    """Texts by their BLAKE2 digests of 128 bits: 32 to 64 bytes each, where a ``set`` of such
    digests takes 140. Runs over lists keep two for each name."""

    def __init__(self) -> None:
        from hashlib import blake2b  # takes 3 ms to load, and most runs need none

        self._hash = blake2b
        self._table = bytearray(_SLOTS * _SIZE)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, text: str) -> bool:
        digest = self._digest(text)
        place = self._place(digest)
        return self._table[place : place + _SIZE] == digest

    def add(self, text: str) -> bool:
        """Whether a text is new. It is in the set from now on."""
        digest = self._digest(text)
        place = self._place(digest)
        if self._table[place : place + _SIZE] == digest:
            return False
        self._table[place : place + _SIZE] = digest
        self._count += 1
        if 2 * self._count * _SIZE > len(self._table):
            self._grow()
        return True

    def _digest(self, text: str) -> bytes:
        return self._hash(text.encode("utf-8", "surrogatepass"), digest_size=_SIZE).digest()

    def _place(self, digest: bytes) -> int:
        """Where a digest is in the table, or the free place where it belongs (linear probing)."""
        table = self._table
        place = int.from_bytes(digest[:8], "big") * _SIZE % len(table)
        while table[place : place + _SIZE] not in (digest, _EMPTY):
            place = (place + _SIZE) % len(table)
        return place

    def _grow(self) -> None:
        before, self._table = self._table, bytearray(2 * len(self._table))
        for start in range(0, len(before), _SIZE):
            digest = bytes(before[start : start + _SIZE])
            if digest != _EMPTY:
                place = self._place(digest)
                self._table[place : place + _SIZE] = digest
