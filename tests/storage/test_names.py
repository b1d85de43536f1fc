"""Output names: no two photos share one, and every file system takes them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter

import pytest
from conftest import ROOT
from hypothesis import example, given
from hypothesis import strategies as st

from humanbody_cli.storage.names import (
    MAX_NAME,
    SUFFIX,
    Claims,
    folded,
    folder_aliases,
    folder_names,
    marked,
    namer,
    root_names,
    shortened,
)

SUFFIXES = [b".jpg", b".JPG", b".jpeg", b".png", b".jpg.png", b".png.png", b".tiff", b".", b""]


def _is_name(data: bytes) -> bool:
    return 0 < len(data) <= MAX_NAME and data not in (b".", b"..")


_any_bytes = st.binary(min_size=1, max_size=MAX_NAME).map(
    lambda data: data.replace(b"\0", b"\n").replace(b"/", b" ")
)
_close_together = st.builds(
    lambda stem, suffix: stem + suffix,
    st.sampled_from([b"a", b"A", b"b.jpg", b"\xc3\xa9", b"e\xcc\x81", b"\xff", b"x" * 246, b"\n"]),
    st.sampled_from(SUFFIXES),
)
_long = st.builds(
    lambda letter, count, suffix: (letter * count)[: MAX_NAME - len(suffix)] + suffix,
    st.sampled_from([b"x", b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x99\x82", b"\xfe"]),
    st.integers(60, MAX_NAME),
    st.sampled_from(SUFFIXES),
)
names = st.one_of(_any_bytes, _close_together, _long).filter(_is_name).map(os.fsdecode)
"""Any name that Linux allows, as Python spells it; many of them close to one another."""

listings = st.lists(names, unique=True, max_size=25)


@given(listings, st.lists(names, unique=True, max_size=4))
def test_distinct_files_get_distinct_names(files: list[str], folders: list[str]) -> None:
    """No two files of a folder share an output name, nor does one take a folder's: neither here nor
    on a file system that sees one name in what differs in case or Unicode form."""
    folders = [folder for folder in folders if folder not in files]
    found = folder_names(files, folders)
    assert list(found) == files
    taken = [*map(folded, found.values()), *set(map(folded, folders))]
    assert len(set(taken)) == len(taken)
    assert namer(files, folders)(files) == list(found.values())


@given(listings)
def test_every_name_fits_and_is_one_name(files: list[str]) -> None:
    """Each output name is one to 255 bytes, ends in .png and contains no separator."""
    for name in folder_names(files).values():
        data = os.fsencode(name)
        assert 0 < len(data) <= MAX_NAME
        assert data.endswith(b".png")
        assert b"/" not in data
        assert b"\0" not in data


@given(listings)
def test_names_do_not_depend_on_the_order(files: list[str]) -> None:
    """The names are a function of the folder's listing, whatever order it is read in."""
    assert folder_names(files) == folder_names(files[::-1])


@given(names)
def test_a_file_alone_keeps_its_stem(name: str) -> None:
    """A file that meets no other is its own stem with .png, wherever that fits."""
    plain = os.path.splitext(name)[0] + SUFFIX
    found = folder_names([name])[name]
    assert found == plain or (len(os.fsencode(plain)) > MAX_NAME and found == marked(plain, plain))


@given(names)
def test_every_name_can_be_made_on_disk(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    """The system takes the output name of any name that it has."""
    path = tmp_path_factory.getbasetemp() / folder_names([name])[name]
    path.touch()
    path.unlink()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["b.jpg"], ["b.png"]),
        (["b.png"], ["b.png"]),
        (["b.JPEG"], ["b.png"]),
        (["a.b.jpg"], ["a.b.png"]),
        (["a.jpg", "b.jpg"], ["a.png", "b.png"]),
        (["b.jpg", "b.png"], ["b.jpg.png", "b.png.png"]),
        (["B.jpg", "b.jpg"], ["B.jpg~69317c95.png", "b.jpg.png"]),
        (
            ["a.jpg", "a.png", "A.jpg", "c.jpg"],
            ["a.jpg.png", "a.png.png", "A.jpg~c88c8fca.png", "c.png"],
        ),
        # b.jpg.png's plain name is the full name of b.jpg: it moves on.
        (["b.jpg", "b.png", "b.jpg.png"], ["b.jpg.png", "b.png.png", "b.jpg.png.png"]),
        (["b.jpg.jpg", "b.jpg.png"], ["b.jpg.jpg.png", "b.jpg.png.png"]),
        (["\u00e9.jpg", "e\u0301.jpg"], ["\u00e9.jpg.png", "e\u0301.jpg~146f2b56.png"]),
        (["photo"], ["photo.png"]),
        (["a\nb.jpg"], ["a\nb.png"]),
    ],
)
def test_names_of_known_folders(files: list[str], expected: list[str]) -> None:
    """The contract's examples, and neighbours of them, get exactly these names."""
    assert list(folder_names(files).values()) == expected


def test_three_spellings_of_one_name_keep_their_own() -> None:
    """a.jpg, A.jpg and a.JPG are three photos with three names, in any case."""
    found = folder_names(["a.jpg", "A.jpg", "a.JPG"])
    assert len({name.casefold() for name in found.values()}) == 3


_texts = st.text(
    # No lone surrogates: names that are not text have those of U+DC80 to U+DCFF only.
    alphabet=st.characters(exclude_characters="/\0", exclude_categories=["Cs"]),
    max_size=12,
)


@given(_texts)
@example("\u0345\u03b1")
@example("\u1e9b\u0323")
@example("e\u034f\u0301")
def test_folding_is_as_coarse_as_any_file_system(name: str) -> None:
    """Case, canonical and compatible forms and ignorable characters make no difference, and what
    is folded stays as it is."""
    fold = folded(name)
    assert folded(fold) == fold
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert folded(unicodedata.normalize(form, name)) == fold
    assert folded(name.casefold()) == fold
    assert folded("\u200b".join(name) + "\ufe0f. ") == fold


@given(st.lists(names, unique=True, max_size=25))
def test_folders_that_fold_alike_are_told_apart(folders: list[str]) -> None:
    """What lies in A does not mix with what lies in a, wherever the output is copied to; who meets
    nobody keeps its name."""
    aliases = folder_aliases(folders)
    assert aliases == folder_aliases(folders[::-1])
    final = [aliases.get(folder, folder) for folder in folders]
    assert len(set(map(folded, final))) == len(final)
    assert all(0 < len(os.fsencode(name)) <= MAX_NAME and "/" not in name for name in final)
    counts = Counter(map(folded, folders))
    assert not [folder for folder in aliases if counts[folded(folder)] == 1]


_below = st.lists(st.sampled_from(["a", "A", "b.png", "c", "A~559aead0"]), max_size=2)
_claims = st.lists(
    st.builds(
        lambda folders, name: "/".join([*folders, name]),
        _below,
        st.sampled_from(
            ["x.png", "X.png", "b.png", "a", "c", "B.PNG", "\u00e9.png", "e\u0301.png"]
        ),
    ),
    max_size=20,
)


@given(_claims)
def test_claimed_names_are_nobody_elses(wanted: list[str]) -> None:
    """Names of any folders in any order: no two fold alike, none is the folder of another, and the
    first to come is called as it wants."""
    claims = Claims()
    found = [claims.claim(name, f"/{index}") for index, name in enumerate(wanted)]
    folds = [folded(name) for name in found]
    assert len(set(folds)) == len(folds)
    above = {fold[: match.start()] for fold in folds for match in re.finditer("/", fold)}
    assert not above & set(folds)
    assert found[:1] == wanted[:1]
    assert [os.path.basename(name)[:1] for name in found] == [
        os.path.basename(name)[:1] for name in wanted
    ]


_WORK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
from humanbody_cli.storage.names import namer
kind, count = sys.argv[1], 40_000
names = [f"{number}.jpg" for number in range(count)]
if kind == "non-ascii":
    names.append("\u00e9.jpg")
elif kind == "case":
    names += [f"{letter}{number}.jpg" for letter in "aA" for number in range(count)]
names_of = namer(names, ["folder", "0.png"] if kind == "folder" else [])
print(len(set(names_of(names))) == len(names))
"""


@pytest.mark.parametrize("kind", ["folder", "non-ascii", "case"])
def test_a_large_folder_takes_time_in_proportion(kind: str) -> None:
    """Forty thousand names need a part of a second of the processor; were each compared with all
    others it would be a minute, and the limit of 20 s would end the process."""
    ended = subprocess.run(
        [sys.executable, "-c", _WORK, kind], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, "True\n"), ended.stderr


@pytest.mark.parametrize("folder", ["b.png", "B.png"])
def test_a_folder_keeps_its_name(folder: str) -> None:
    """Where a folder is called b.png the photo b.jpg steps aside: both need that place."""
    assert folder_names(["b.jpg"], [folder]) == {"b.jpg": "b.jpg.png"}


def test_a_photo_steps_aside_of_every_folder() -> None:
    """Where folders take both of a photo's names it gets a third."""
    found = folder_names(["b.jpg"], ["b.png", "b.jpg.png"])["b.jpg"]
    assert found not in ("b.png", "b.jpg.png")
    assert found.startswith("b.jpg~")


def test_a_long_name_is_cut_between_characters() -> None:
    """A name of 255 bytes is cut at a character's end, and its end says what the whole was."""
    long = "\u20ac" * 84 + ".jp"  # 255 bytes; .png makes 256
    found = folder_names([long])[long]
    assert len(os.fsencode(found)) <= MAX_NAME
    found.encode()  # no half characters
    assert found.startswith("\u20ac" * 80)
    assert folder_names(["\u20ac" * 83 + "\u20ad.jp"]) != {long: found}


def test_a_name_that_is_shortened_takes_nobody_elses() -> None:
    """A file that is literally called as another's shortened name would be keeps its own."""
    long = ["x" * 251 + ".jpg", "x" * 251 + ".png"]
    cut = folder_names(long)[long[0]]
    files = [*long, cut.removesuffix(SUFFIX) + ".jpg"]
    assert len(set(folder_names(files).values())) == 3


def test_a_name_that_steps_aside_takes_nobody_elses() -> None:
    """A file that is literally called as another's marked name would be keeps its own."""
    folders = ["b.png", "b.jpg.png"]
    aside = folder_names(["b.jpg"], folders)["b.jpg"]
    files = ["b.jpg", aside.removesuffix(SUFFIX) + ".jpg"]
    assert len(set(folder_names(files, folders).values())) == 2


def test_a_mark_never_lands_on_a_folder() -> None:
    """The digest's name is no folder's either."""
    folders = ["b.png", "b.jpg.png"]
    aside = folder_names(["b.jpg"], folders)["b.jpg"]
    assert folder_names(["b.jpg"], [*folders, aside])["b.jpg"] not in [*folders, aside]


@given(names, st.text(max_size=20))
def test_marks_differ_with_what_is_marked(name: str, identity: str) -> None:
    """A mark fits, keeps the folder and depends on the identity."""
    found = marked("some/folder/" + name, identity)
    assert found.startswith("some/folder/")
    assert len(os.fsencode(os.path.basename(found))) <= MAX_NAME
    assert found != marked("some/folder/" + name, identity + ".")


@given(names)
@example("x" * 255)
@example("x" * 256)
def test_short_names_are_left_alone(name: str) -> None:
    """Only a name that does not fit is changed."""
    fits = len(os.fsencode(name)) <= MAX_NAME
    assert (shortened(name) == name) is fits


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["/p/photos"], [""]),
        (["/p/a", "/p/b"], ["a", "b"]),
        (["/x/photos", "/y/photos"], ["x/photos", "y/photos"]),
        (["/x/Photos", "/y/photos"], ["x/Photos", "y/photos"]),
        (["/x/photos", "/y/photos", "/z/other"], ["x/photos", "y/photos", "other"]),
        (["/a/x/photos", "/b/x/photos"], ["a/x/photos", "b/x/photos"]),
        (["/", "/a"], ["root", "a"]),
        (["/photos", "/x/photos"], ["photos", "x/photos"]),
        (["/a/x/photos", "/b/y/photos", "/c/x"], ["x/photos", "y/photos", "c/x"]),
        ([], []),
    ],
)
def test_prefixes_of_known_folders(folders: list[str], expected: list[str]) -> None:
    """Several folders are told apart by as few of their parents' names as do it."""
    assert root_names(folders) == expected


_paths = st.lists(
    st.lists(st.sampled_from(["a", "b", "A", "c"]), max_size=4).map(lambda p: "/" + "/".join(p)),
    unique_by=str.casefold,
    min_size=2,
    max_size=6,
)


@given(_paths)
def test_distinct_folders_get_distinct_prefixes(folders: list[str]) -> None:
    """No two input folders share a prefix, and none's lies in another's."""
    prefixes = root_names(folders)
    folds = {folded(prefix) for prefix in prefixes}
    assert len(folds) == len(folders)
    assert all(prefixes)
    above = {fold[: match.start()] for fold in folds for match in re.finditer("/", fold)}
    assert not above & folds


def test_the_root_folder_is_told_from_a_folder_called_root() -> None:
    """The folder / takes the name root, and leaves it to a folder that is really called so."""
    assert len(set(root_names(["/", "/root"]))) == 2
