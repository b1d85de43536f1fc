"""The names of a list: separators, byte order marks, pieces, lists that cannot be read."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from finding import Script, found, listed
from hypothesis import given
from hypothesis import strategies as st
from standard_input import stdin_of

from humanbody_cli.core.errors import UsageError
from humanbody_cli.core.photo import Kind
from humanbody_cli.discovery.lists import NameList

LISTS = [
    (b"a.jpg\nb.jpg\n", False, ["a.jpg", "b.jpg"]),
    (b"a.jpg\nb.jpg", False, ["a.jpg", "b.jpg"]),
    (b"a.jpg\r\nb c.jpg\r\n\r\n", False, ["a.jpg", "b c.jpg"]),
    (b"\n\na.jpg\n\n", False, ["a.jpg"]),
    (b" a.jpg \n", False, [" a.jpg "]),
    (b"a\nb.jpg\0c.jpg\0", True, ["a\nb.jpg", "c.jpg"]),
    (b"c.jpg\r\0d.jpg", True, ["c.jpg\r", "d.jpg"]),
    (b"\xff\xfe.jpg\n", False, ["\udcff\udcfe.jpg"]),
    (b"", False, []),
    (b"\0\0", True, []),
]


@pytest.mark.parametrize(("data", "nul", "expected"), LISTS)
def test_lists_are_read_as_they_are_written(
    tmp_path: Path, data: bytes, nul: bool, expected: list[str]
) -> None:
    """Lines or NUL-separated names, Windows ends, any bytes; empty ones are passed over."""
    path = tmp_path / "list"
    path.write_bytes(data)
    assert list(listed(str(path), nul=nul)) == expected


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=600))
def test_long_lists_come_whole(
    tmp_path_factory: pytest.TempPathFactory, names: list[bytes]
) -> None:
    """A NUL-separated list of any names, however long, gives those names back; but a list may begin
    with a byte order mark, which is not part of its first name."""
    names = [b"first", *(name.replace(b"\0", b"0") for name in names)] * 3
    path = tmp_path_factory.getbasetemp() / "long-list"
    path.write_bytes(b"\0".join(names))
    assert [os.fsencode(name) for name in listed(str(path), nul=True)] == names


def test_a_list_with_nul_bytes_read_as_lines_makes_no_traceback(tmp_path: Path) -> None:
    """Who forgets -0 after find -print0 gets a record or a usage error."""
    path = tmp_path / "list"
    path.write_bytes(b"a.jpg\0b.jpg\0")
    with contextlib.suppress(UsageError):
        assert [photo.kind for photo in found(from_file=str(path))] == [Kind.TROUBLE]


def test_a_list_is_read_as_it_comes(tmp_path: Path) -> None:
    """The first name of a list that is still being written is handed on at once."""
    read, write = os.pipe()
    with open(write, "wb", buffering=0) as list_end:
        names = listed(f"/dev/fd/{read}", nul=False)
        list_end.write(b"first.jpg\nsec")
        assert next(names) == "first.jpg"
        list_end.write(b"ond.jpg\n")
        assert next(names) == "second.jpg"
    assert list(names) == []
    os.close(read)


def test_a_list_on_standard_input(tmp_path: Path) -> None:
    """``--from-file -`` reads the names from standard input and leaves it open."""
    path = tmp_path / "list"
    path.write_bytes(b"a.jpg\nb.jpg\n")
    with stdin_of(path) as descriptor:
        assert list(listed("-", nul=False)) == ["a.jpg", "b.jpg"]
        os.fstat(descriptor)


@pytest.mark.parametrize("name", ["nope", "."])
def test_a_list_that_cannot_be_read_is_a_usage_error(tmp_path: Path, name: str) -> None:
    """A list that is missing or a folder is the user's mistake, and says so."""
    with pytest.raises(UsageError, match=r"--from-file .* cannot be read"):
        list(listed(str(tmp_path / name), nul=False))


def test_a_list_that_breaks_off_is_named(tmp_path: Path) -> None:
    """An error of the list is the list's, and one of a photo is not."""
    with pytest.raises(UsageError, match=r"--from-file .*: cannot be read: Is a directory"):
        list(listed(str(tmp_path), nul=False))


@pytest.mark.parametrize("nul", [False, True])
def test_a_byte_order_mark_is_not_part_of_the_first_name(nul: bool) -> None:
    """Editors and PowerShell put one in front: the first photo is found, and the base stays."""
    end = b"\0" if nul else b"\r\n"
    script = Script([(0, b"\xef\xbb"), (0, b"\xbf/p/a.jpg" + end), (0, b"\xef\xbb\xbfb.jpg")])
    names = [entry and entry.name for entry in NameList(script, "-", nul).entries()]
    assert names == ["/p/a.jpg", "\ufeffb.jpg"]
    assert list(NameList(Script([(0, b"\xef\xbb\xbf")]), "-", nul).entries()) == []


@pytest.mark.parametrize(
    ("block", "nul", "said"),
    [
        (b"x" * 65536, False, r"line 3 has more than 65,536 bytes; check that .* one per line"),
        (b"x" * 65536, True, r"name 3 has more than 65,536 bytes; check that .* NUL-separated"),
        (b"\0" * 65536, False, "give -0 too"),
    ],
)
def test_what_has_no_separators_is_refused_early(block: bytes, nul: bool, said: str) -> None:
    """An endless pipe, or a picture given as the list: it is refused within three blocks, and not
    read into memory until a separator comes."""
    separator = b"\0" if nul else b"\n"
    first = b"a.jpg" + separator + separator
    script = Script([(0, first), *[(0, block)] * 1000])
    with pytest.raises(UsageError, match=said):
        list(NameList(script, "l", nul).entries())
    assert len(script.events) >= 997


def test_a_name_may_come_in_any_pieces() -> None:
    """Wherever blocks end, names, their numbers and empty lines are the same."""
    text = b"\na.jpg\n\nlong" + b"g" * 300 + b".jpg\nlast"
    whole = list(NameList(Script([(0, text)]), "-", nul=False).entries())
    assert [entry and entry.number for entry in whole] == [2, 4, 5]
    for size in (1, 2, 3, 7, 100):
        pieces = [(0.0, text[at : at + size]) for at in range(0, len(text), size)]
        assert list(NameList(Script(pieces), "-", nul=False).entries()) == whole
