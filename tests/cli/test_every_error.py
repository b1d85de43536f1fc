"""Every error that a user can cause is told in one sentence, and the list of them is whole."""

from __future__ import annotations

from pathlib import Path

from conftest import ROOT
from every_error import contradictions, runs, settings, wrong_values
from every_error.elsewhere import ELSEWHERE
from every_error.sites import sites
from every_error.walking import Said, complaints, walk

TABLES = (wrong_values, contradictions, settings, runs)


def test_every_error_is_told_in_one_sentence(open_folder: Path) -> None:
    """Each command of the table exits with the code of its kind of error and says, in one
    sentence, which option or file is wrong and what to do; no traceback, no secret. What the
    package can raise is met by one of them, or tested elsewhere for a reason that is named."""
    wrong, all_said = [], []
    with walk(open_folder) as walking:
        for case in (case for table in TABLES for case in table.cases()):
            said = walking.said(case)
            all_said.append(said)
            if found := list(complaints(case, said, walking.places["taken"])):
                told = f"{said.code} {said.err[-900:]}{said.out[-300:]}"
                wrong.append(f"hbseg {case.line}\n  {'; '.join(found)}\n  {told}")
    assert not wrong, "\n".join([*wrong, f"{len(wrong)} of {len(all_said)}"])
    unmet = _unmet(all_said)
    assert unmet == ELSEWHERE, sorted(unmet ^ ELSEWHERE)


def _unmet(all_said: list[Said]) -> set[str]:
    """The places that raise an error whose message no command of the table has shown."""
    text = "\n".join(said.err + said.out for said in all_said)
    return {
        label
        for label, patterns in sites(ROOT / "humanbody_cli")
        if not any(pattern.search(text) for pattern in patterns)
    }
