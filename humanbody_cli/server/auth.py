"""Who may call, and how often: the keys file, each key's state, its quota and its balance.

The keys file has one key a line::

    # api_key  api_secret  [state]  [qps=N]  [balance=N]
    alice      s3cret
    bob        t0psecret   denied-by-client
    carol      hush        qps=3  balance=1000

``state`` is ``ok`` (the default), ``denied-by-client``, ``denied-by-admin`` or ``no-balance``;
``balance`` counts the calls left before the balance is used up.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import stat
import string
from dataclasses import dataclass, field
from pathlib import Path

from humanbody_cli.core import api_spec
from humanbody_cli.core.errors import UsageError
from humanbody_cli.server.rate_limit import Meters
from humanbody_cli.server.responses import Refused

STATES: dict[str, str | None] = {
    "ok": None,
    "denied-by-client": "Denied by Client",
    "denied-by-admin": "Denied by Admin",
    "no-balance": "Insufficient Account Balance",
}
"""A key's state in the file -> the document's reason behind AUTHORIZATION_ERROR."""

_NO_BALANCE = "Insufficient Account Balance"


@dataclass(frozen=True)
class Key:
    """One line of the keys file. ``qps`` and ``balance`` ``None`` mean: no such limit."""

    api_key: str
    api_secret: str = field(repr=False)
    state: str = "ok"
    qps: float | None = None
    balance: int | None = None


def make_key(qps: float | None) -> Key:
    """A fresh pair, as long as the provider's own."""
    return Key(_random_word(), _random_word(), qps=qps)


def _random_word() -> str:
    # Letters and digits only: a word that begins with a dash is a nuisance on command lines.
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(32))


def read_keys(path: Path, qps: float | None) -> tuple[Key, ...]:
    """The keys of a file; ``qps`` counts where a line names none.

    Raises:
        UsageError: the file cannot be read, a line makes no sense, or there is no key.
    """
    try:
        text = path.read_text(encoding="utf-8")
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
            raise UsageError(f"{path}, line {number}: this api_key is in the file twice")
        keys[key.api_key] = key
    if not keys:
        raise UsageError(
            f"the keys file {path} has no key: write one 'api_key api_secret' per line"
        )
    return tuple(keys.values())


def readable_by_others(path: Path) -> bool:
    """Whether every user of this machine can read the secrets."""
    return bool(path.stat().st_mode & stat.S_IROTH)


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
            raise UsageError(f"{where}: {word!r} is none of {known}, qps=N, balance=N")
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


class Gate:
    """Lets calls in or refuses them, as the provider's gateway does."""

    def __init__(self, keys: tuple[Key, ...], meters: Meters) -> None:
        self._keys = {key.api_key.encode(): (index, key) for index, key in enumerate(keys)}
        self._meters = meters
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
        # An unknown key takes the same way as a wrong secret, at the same cost.
        index, key = known or self._nobody
        matches = hmac.compare_digest(_digest(key.api_secret.encode()), _digest(api_secret))
        if known is None or not matches:
            raise Refused(api_spec.AUTHENTICATION)
        reason = STATES[key.state]
        if reason is not None:
            raise Refused(api_spec.AUTHORIZATION, reason)
        return index

    def admit(self, index: int) -> None:
        """Count a call against its key's quota and balance; a refused call counts nowhere.

        Raises:
            Refused: the quota of this second or the balance is used up.
        """
        verdict = self._meters.take(index)
        if verdict == "balance":
            raise Refused(api_spec.AUTHORIZATION, _NO_BALANCE)
        if verdict == "quota":
            raise Refused(api_spec.CONCURRENCY)
