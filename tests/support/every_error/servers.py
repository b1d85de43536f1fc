"""The servers that the table's commands call, and the locks and ports that they find taken."""

from __future__ import annotations

import contextlib
import fcntl
import socket
from collections.abc import Iterator
from pathlib import Path

from fake_api import FakeApi
from fake_behaviour import Behaviour
from odd_servers import EXPIRED, answer, over_tls, serving

BEHAVIOURS = {
    "api": Behaviour(),
    "wrongkey": Behaviour(keys=(("another", "pair"),)),
    "forbidden": Behaviour(always="AUTHORIZATION_ERROR"),
    "empty": Behaviour(balance=0),
    "elsewhere": Behaviour(always="API_NOT_FOUND"),
    "arguments": Behaviour(always="BAD_ARGUMENTS"),
    "broken": Behaviour(always="internal"),
    "refusing": Behaviour(always="IMAGE_ERROR_UNSUPPORTED_FORMAT"),
}


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """All of them; their addresses by name."""
    with contextlib.ExitStack() as stack:
        places = {
            name: stack.enter_context(FakeApi.in_thread(behaviour)).url
            for name, behaviour in BEHAVIOURS.items()
        }
        encrypted, _ = over_tls(folder, EXPIRED)
        odd = {"tls": ("http", encrypted), "selfsigned": ("https", encrypted)}
        odd |= {"page": ("http", answer(b"200 OK\r\nContent-Type: text/html", b"<html></html>"))}
        for name, (scheme, handler) in odd.items():
            server = stack.enter_context(serving(handler))
            places[name] = f"{scheme}://127.0.0.1:{server.port}"
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        places["taken"] = str(taken.getsockname()[1])
        yield places


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """A lock file that another run holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
