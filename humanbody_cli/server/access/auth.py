"""Who may call, and how often: the keys file, each key's state, and the rate limiter.

The keys file has one key per line::

    # api_key  api_secret  [state]  [qps=N]  [balance=N]
    alice      s3cret
    bob        t0psecret   denied-by-client
    carol      hush        qps=3  balance=1000

``state`` is ``ok`` (the default), ``denied-by-client``, ``denied-by-admin`` or ``no-balance``;
``balance`` counts the calls left before the balance is used up.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import math
import mmap
import os
import secrets
import string
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from humanbody_cli.api.requests import Refused
from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import UsageError
from humanbody_cli.server.metrics import no_temporary_folder

_NO_BALANCE = "Insufficient Account Balance"

STATES: dict[str, str | None] = {
    "ok": None,
    "denied-by-client": "Denied by Client",
    "denied-by-admin": "Denied by Admin",
    "no-balance": _NO_BALANCE,
}
"""A key's state in the file -> the document's reason behind AUTHORIZATION_ERROR."""


@dataclass(frozen=True)
class Key:
    """One line of the keys file. ``qps`` and ``balance`` ``None`` mean: no such limit."""

    api_key: str
    api_secret: str = field(repr=False)
    state: str = "ok"
    qps: float | None = None
    balance: int | None = None


OWN_KEY = 0
"""The number of the one key that a server without a keys file has."""


def make_key(qps: float | None) -> Key:
    """A fresh pair, as long as the provider's own."""
    return Key(_random_word(), _random_word(), qps=qps)


def _random_word() -> str:
    # Letters and digits only: a word that begins with a dash is a nuisance on command lines.
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))


def read_keys(path: Path, qps: float | None) -> tuple[Key, ...]:
    """The keys of a file; ``qps`` is the quota of a line that names none.

    Raises:
        UsageError: the file cannot be read, a line is malformed, or there is no key.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(
            f"cannot read the keys file {path}: {reason}; check --keys, and that it is a text file "
            "with one 'api_key api_secret' per line, readable by this user"
        ) from None
    keys: dict[str, Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        # A secret may have a # in it: only whole lines are comments.
        words = [] if line.lstrip().startswith("#") else line.split()
        if not words:
            continue
        key = _read_line(words, f"{path}, line {number}", qps)
        if key.api_key in keys:
            raise UsageError(
                f"{path}, line {number}: this api_key is in the file twice; remove one"
            )
        keys[key.api_key] = key
    if not keys:
        raise UsageError(
            f"the keys file {path} has no key: write one 'api_key api_secret' per line"
        )
    return tuple(keys.values())


def _read_line(words: list[str], where: str, qps: float | None) -> Key:
    # The secret must never end up in a message, so messages name words from the third on only.
    if len(words) < 2:
        raise UsageError(f"{where}: a key needs its secret; write 'api_key api_secret'")
    state, balance = "ok", None
    for word in words[2:]:
        name, equals, value = word.partition("=")
        if not equals and word in STATES:
            state = word
        elif name == "qps" and _number(value) > 0:
            qps = _number(value)
        elif name == "balance" and value.isdecimal() and len(value) <= 15:
            balance = int(value)
        else:
            known = ", ".join(STATES)
            raise UsageError(
                f"{where}: {word!r} is none of {known}, qps=N, balance=N; correct or remove it"
            )
    return Key(words[0], words[1], state, qps, balance)


def _digest(secret: bytes) -> bytes:
    # Of one length, so that not even a secret's length shows in the time a comparison takes.
    return hashlib.sha256(secret).digest()


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0


_HEAD = struct.Struct("qq")  # calls left (-1: no limit), calls accepted so far
_TIME = struct.Struct("d")
_MAX_RING = 100_000
"""Calls per second that can be counted; a higher quota is not enforced."""

Verdict = Literal["ok", "quota", "balance"]


@dataclass(frozen=True)
class _KeyRecord:
    """Where a key's figures are. ``ring`` holds the times of the last accepted calls, as many as
    ``window`` seconds allow; 0 where there is no quota."""

    offset: int
    ring: int
    window: float


class RateLimiter:
    """Each key's quota, a sliding window of accepted calls, and its balance, for all workers.

    The figures are in a small file that every worker has mapped; a record lock guards them, which
    the kernel drops with its process: a killed worker blocks nobody. A call costs two system calls.
    ``limits`` has (calls per second, calls left) for each key, ``None`` for no limit. A quota below
    one call per second is one call in a longer window.
    """

    def __init__(
        self,
        limits: Sequence[tuple[float | None, int | None]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._records: list[_KeyRecord] = []
        size = 0
        for qps, _ in limits:
            ring = 0 if qps is None or qps > _MAX_RING else max(1, math.floor(qps))
            self._records.append(_KeyRecord(size, ring, ring / qps if ring and qps else 0.0))
            size += _HEAD.size + ring * _TIME.size
        self._file = _nameless_file()
        os.truncate(self._file, max(size, 1))
        self._map = mmap.mmap(self._file, max(size, 1))
        for record, (_, balance) in zip(self._records, limits, strict=True):
            _HEAD.pack_into(self._map, record.offset, -1 if balance is None else balance, 0)

    def take(self, index: int) -> Verdict:
        """Count one call of key ``index``, if its quota and balance allow it."""
        record = self._records[index]
        with self._locked():
            left, accepted = _HEAD.unpack_from(self._map, record.offset)
            if left == 0:
                return "balance"
            if record.ring:
                # CLOCK_MONOTONIC counts from boot for all processes alike.
                now = self._clock()
                place = record.offset + _HEAD.size + accepted % record.ring * _TIME.size
                (oldest,) = _TIME.unpack_from(self._map, place)
                if accepted >= record.ring and now - oldest < record.window:
                    return "quota"
                _TIME.pack_into(self._map, place, now)
            _HEAD.pack_into(self._map, record.offset, left - (left > 0), accepted + 1)
        return "ok"

    def close(self) -> None:
        """Let go of the file; no call can be counted any more."""
        self._map.close()
        os.close(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


def _nameless_file() -> int:
    """A file that only this process and its children have.

    Raises:
        FatalError: there is no folder for one.
    """
    if hasattr(os, "memfd_create"):  # Linux: in memory, and no folder has to be writable for it
        with contextlib.suppress(OSError):
            return os.memfd_create("hbseg-quotas")
    try:
        file, path = tempfile.mkstemp(prefix="hbseg-quotas-")
    except OSError as error:
        raise no_temporary_folder(error) from None
    os.unlink(path)
    return file


class Authenticator:
    """Admits or refuses calls, as the provider's gateway does."""

    def __init__(self, keys: tuple[Key, ...], limiter: RateLimiter) -> None:
        self._keys = {key.api_key.encode(): (index, key) for index, key in enumerate(keys)}
        self._limiter = limiter
        self._nobody = (0, Key("", secrets.token_hex(16)))

    def authenticate(self, api_key: bytes | None, api_secret: bytes | None) -> int:
        """The number of the key that a call comes with.

        Raises:
            Refused: a part of the pair is missing, it does not match, or the key may not call.
        """
        for name, value in (("api_key", api_key), ("api_secret", api_secret)):
            if not value:
                raise Refused(api_spec.MISSING_ARGUMENTS, name, bare=True)
        assert api_key is not None
        assert api_secret is not None
        known = self._keys.get(api_key)
        # An unknown key is treated like a wrong secret, at the same cost in time.
        index, key = known or self._nobody
        matches = hmac.compare_digest(_digest(key.api_secret.encode()), _digest(api_secret))
        if known is None or not matches:
            raise Refused(
                api_spec.AUTHENTICATION,
                reason="no such key" if known is None else "the pair does not match",
            )
        reason = STATES[key.state]
        if reason is not None:
            raise Refused(api_spec.AUTHORIZATION, reason)
        return index

    def admit(self, index: int) -> None:
        """Count a call against its key's quota and balance; a refused call counts nowhere.

        Raises:
            Refused: the quota of this second or the balance is used up.
        """
        verdict = self._limiter.take(index)
        if verdict == "balance":
            raise Refused(api_spec.AUTHORIZATION, _NO_BALANCE)
        if verdict == "quota":
            raise Refused(api_spec.CONCURRENCY, reason="the key's quota is used up for now")
