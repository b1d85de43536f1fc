"""One line of the table: a command that is wrong, and what must be said about it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """``line`` are the command's arguments as a shell reads them; ``{api}`` and the like are
    addresses of servers (`servers.py`). ``says`` are words of the one sentence that must be said.

    ``path`` of ``stdout`` may be ``broken``: a pipe that nobody reads.
    """

    line: str
    code: int
    says: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str = "/dev/null"
    stdout: str = ""
    limits: Mapping[str, int] = field(default_factory=dict)
    unprivileged: bool = False
    keyed: bool = False
    """Whether an API key is set."""

    def arguments(self, places: Mapping[str, str]) -> list[str]:
        """The arguments, with the servers' addresses."""
        line = self.line
        for name, place in places.items():
            line = line.replace("{" + name + "}", place)
        return shlex.split(line)


def usage(line: str, *says: str, **how: object) -> Case:
    """A command that does nothing: exit code 2."""
    return Case(line, 2, says, **how)  # type: ignore[arg-type] # the fields of a case
