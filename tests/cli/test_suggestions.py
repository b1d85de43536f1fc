"""What a slip on the command line is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Hbseg, photo


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("segmet", "a"), "No such command 'segmet'. Did you mean 'segment'?"),
        (("stats", "out"), "No such command 'stats'. Did you mean 'status'?"),
        (("reprt",), "No such command 'reprt'. Did you mean 'report'?"),
        (("zzzzz",), "No such command 'zzzzz'."),
        (("segment", "--maxcalls", "3", "a"), "--max-calls"),
        (("segment", "--egdes", "soft", "a"), "--edges"),
        (("segment", "a", "--edges", "sfot"), "Did you mean 'soft'?"),
        (("segment", "a", "--format", "jpeg"), "Did you mean 'jpg'?"),
        (("segment", "a", "--crops", "onn"), "Did you mean 'on'?"),
    ],
)
def test_a_slip_is_told_what_it_resembles(hbseg: Hbseg, typed: tuple[str, ...], told: str) -> None:
    """Commands, options and choices; exit code 2."""
    ended = hbseg(*typed)
    assert ended.code == 2
    assert told in ended.err
    assert "Traceback" not in ended.err


def test_a_choice_of_the_environment_is_told_too(hbseg: Hbseg) -> None:
    """``HBSEG_EDGES`` is checked like the option."""
    assert "Did you mean 'soft'?" in hbseg("segment", "a", env={"HBSEG_EDGES": "sof"}).err


def test_a_photo_or_folder_in_a_commands_place_is_told_the_command(
    hbseg: Hbseg, tmp_path: Path
) -> None:
    """What to run instead, quoted for the shell; what was named is left alone."""
    photo(tmp_path / "my photos" / "a.jpg")
    photo(tmp_path / "me.jpg")
    ended = hbseg("./my photos", "-o", "out")
    assert ended.code == 2
    assert "hbseg segment './my photos' -o OUT" in ended.err
    assert "hbseg segment me.jpg\n" in hbseg("me.jpg").err
    address = "https://example.com/me.jpg"
    assert f"hbseg segment {address} -o OUT" in hbseg(address).err


def test_a_command_is_one_even_if_a_folder_has_its_name(hbseg: Hbseg, tmp_path: Path) -> None:
    """A folder ``report`` does not get in the way of ``hbseg report``."""
    (tmp_path / "report").mkdir()
    assert "is not a command" not in hbseg("report").err
