"""The command, killed at its Nth call to the disk: ``python dying_run.py N segment photos -o out``.

Dies like a process that got a SIGKILL at that very step: no clean-up, no flush, nothing further.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

from humanbody_cli.cli.main import main
from humanbody_cli.storage.disk import RealDisk

DIED = 137


def die_at(number: int) -> None:
    """Put a countdown into every call to the disk."""
    calls = count(1)

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any) -> Any:
            if next(calls) >= number:
                os._exit(DIED)
            return call(*arguments)

        return wrapper

    for step in [name for name in vars(RealDisk) if not name.startswith("_")]:
        setattr(RealDisk, step, counted(getattr(RealDisk, step)))


if __name__ == "__main__":
    die_at(int(sys.argv.pop(1)))
    main()
