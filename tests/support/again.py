"""Whether another run with other options makes a result again."""

from __future__ import annotations

from conftest import Hbseg


class Again:
    """Runs over the photo in ``photos`` with the embedded engine; ``always`` are options of all."""

    def __init__(self, hbseg: Hbseg, *always: object) -> None:
        self._hbseg = hbseg
        self._always = always

    def __call__(self, *options: object) -> bool:
        """Whether a run with these options skips the photo, as one that is done."""
        arguments = ("segment", "photos", "-o", "out", "--engine", "local", *self._always)
        ended = self._hbseg(*arguments, "--json", *options)
        assert ended.code == 0, ended.err
        return bool(ended.records[0].get("skipped"))
