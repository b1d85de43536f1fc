"""The publisher: nothing foreign is replaced, moved or removed; files go aside."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Hbseg, files
from failing_disk import FailingDisk
from fake_api import FakeApi
from making import chunk, noise, png

from humanbody_cli.core.errors import OutputError, PhotoError
from humanbody_cli.imaging import proof
from humanbody_cli.imaging.proof import Proof
from humanbody_cli.storage.disk import RealDisk, temporary_path
from humanbody_cli.storage.layout import CUTOUTS, MASKS
from humanbody_cli.storage.ownership import published
from humanbody_cli.storage.publishing import Publisher

SHA = "5" * 64
PLAIN = png(noise((16, 16)))
OURS = proof.attach(PLAIN, Proof(SHA, "api hard"))
OTHER = proof.attach(PLAIN, Proof("6" * 64, "api hard"))
EDITED = OURS[:-12] + chunk(b"tEXt", b"Comment\0edited") + OURS[-12:]
NAME = "a/b.png"


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(str(tmp_path), durable=True)


def file_at(publisher: Publisher, content: bytes | None = None, name: str = NAME) -> Path:
    """A cutout of that name; with this content, if given."""
    path = Path(publisher.path(CUTOUTS, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is not None:
        path.write_bytes(content)
    return path


def no_one(kind: str, sha256: str) -> bool:
    """Needs what was set aside."""
    del kind, sha256
    return False


def link_at(path: Path) -> None:
    target = path.parent / "elsewhere.png"
    target.write_bytes(OURS)
    path.symlink_to(target)


FOREIGN: dict[str, Callable[[Path], object]] = {
    "a file": lambda path: path.write_bytes(b"mine"),
    "a PNG": lambda path: path.write_bytes(PLAIN),
    "one of ours, edited by a tool that keeps every chunk": lambda path: path.write_bytes(EDITED),
    "a link": link_at,
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
}


def _state(folder: Path) -> dict[str, object]:
    """Everything below a folder: what it is and what is in it."""
    return {
        str(path.relative_to(folder)): (
            stat.S_IFMT(path.lstat().st_mode),
            path.read_bytes() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_hbseg_did_not_write_stays(publisher: Publisher, kind: str) -> None:
    """Neither replaced, nor moved over, nor removed, nor set aside; said before the call is paid
    for, and again where it came in between."""
    path = file_at(publisher)
    FOREIGN[kind](path)
    file_at(publisher, OURS, "other.png")
    before = _state(Path(publisher.root))
    for act in (
        lambda: publisher.check_place(CUTOUTS, NAME),
        lambda: publisher.publish(CUTOUTS, NAME, OTHER),
        lambda: publisher.move(CUTOUTS, "other.png", NAME),
    ):
        with pytest.raises(PhotoError, match=r"b\.png") as caught:
            act()
        assert caught.value.code == "OUTPUT_NAME_TAKEN"
        assert caught.value.rejected and caught.value.transient
        assert "move it away" in caught.value.message
    assert not publisher.withdraw(CUTOUTS, NAME)
    assert not publisher.set_aside(CUTOUTS, NAME, SHA)
    assert _state(Path(publisher.root)) == before


@pytest.mark.parametrize("kind", ["a link", "a folder", "a pipe"])
def test_no_knowledge_makes_a_link_ours(publisher: Publisher, kind: str) -> None:
    """The journal tells of a file: what stands in its place now is the user's."""
    FOREIGN[kind](file_at(publisher))
    with pytest.raises(PhotoError):
        publisher.publish(CUTOUTS, NAME, OTHER, may_replace=lambda path: True)


def test_our_own_file_is_replaced(publisher: Publisher) -> None:
    """Its proof is enough, with no row that tells of it; without a proof the row's size is."""
    path = file_at(publisher, OURS)
    publisher.check_place(CUTOUTS, NAME)
    publisher.publish(CUTOUTS, NAME, OTHER)
    assert path.read_bytes() == OTHER
    path.write_bytes(PLAIN)
    known = published(len(PLAIN), proofless=True)
    publisher.check_place(CUTOUTS, NAME, may_replace=known)
    publisher.publish(CUTOUTS, NAME, OURS, may_replace=known)
    assert path.read_bytes() == OURS
    path.write_bytes(EDITED)
    with pytest.raises(PhotoError):
        publisher.publish(CUTOUTS, NAME, OURS, may_replace=known)


@pytest.mark.parametrize("damaged", [OURS[:-20], OURS[:300] + bytes(len(OURS) - 300), b""])
def test_a_damaged_file_of_ours_is_replaced(publisher: Publisher, damaged: bytes) -> None:
    """A power cut or a bad disk made it; nobody's work is lost. Where the journal has a result at
    this name, whatever is no PNG is that result."""
    path = file_at(publisher, damaged)
    publisher.publish(CUTOUTS, NAME, OTHER)
    path.write_bytes(b"short")
    with pytest.raises(PhotoError):
        publisher.publish(CUTOUTS, NAME, OTHER)
    publisher.publish(CUTOUTS, NAME, OTHER, may_replace=published(1000))
    assert path.read_bytes() == OTHER


@pytest.mark.parametrize("link", [False, True])
def test_a_users_file_survives_a_run(paid: Hbseg, api: FakeApi, photos: Path, link: bool) -> None:
    """Two files of the user's at the names of results: no call is paid for these photos, the
    others are done, and a second run after they were moved away does the rest."""
    mine = paid.cwd / "mine.png"
    mine.write_bytes(PLAIN)
    for name in ("cutouts/a.png", "masks/b.png"):
        path = paid.cwd / "out" / name
        path.parent.mkdir(parents=True)
        if link:
            path.symlink_to(mine)
        else:
            path.write_bytes(PLAIN)
    api_options = ("--engine", "api", "--endpoint", api.url, "--qps", "500")
    command = ("segment", photos, "-o", "out", *api_options, "--json")
    ended = paid(*command)
    assert ended.code == 3, ended.err
    refused = [one for one in ended.records if one["code"] == "OUTPUT_NAME_TAKEN"]
    assert {Path(one["source"]).name for one in refused} == {"a.jpg", "b.jpg"}
    assert all("move it away" in one["message"] for one in refused)
    assert len(api.stats.calls) == 2
    for name in ("cutouts/a.png", "masks/b.png"):
        path = paid.cwd / "out" / name
        assert path.read_bytes() == PLAIN and path.is_symlink() == link
        path.unlink()
    assert mine.read_bytes() == PLAIN
    assert paid(*command).code == 0
    assert len(api.stats.calls) == 4
    assert len(files(paid.cwd / "out")) == 8


def test_a_file_that_comes_while_the_photo_is_paid_for_stays(publisher: Publisher) -> None:
    """The look is taken once more, right before the name is given."""
    publisher.check_place(CUTOUTS, NAME)
    path = file_at(publisher, b"mine")
    with pytest.raises(PhotoError):
        publisher.publish(CUTOUTS, NAME, OURS)
    assert os.listdir(path.parent) == ["b.png"]
    assert path.read_bytes() == b"mine"


def test_moving_takes_a_file_along(publisher: Publisher) -> None:
    """To a folder that is made for it, over a file of ours; not where there is nothing."""
    path = file_at(publisher, OURS)
    file_at(publisher, OTHER, "c/d/e.png")
    assert publisher.move(CUTOUTS, NAME, "c/d/e.png")
    assert not path.exists()
    assert file_at(publisher, name="c/d/e.png").read_bytes() == OURS
    assert not publisher.move(CUTOUTS, NAME, "other.png")
    assert not publisher.move(CUTOUTS, "c/d/e.png", "c/d/e.png")
    assert not publisher.move(MASKS, "c/d/e.png", "f.png")
    assert list(files(Path(publisher.root))) == ["cutouts/c/d/e.png"]


def test_withdrawing(publisher: Publisher) -> None:
    """A file of ours goes, by its proof or by what is known; what is gone already is no error."""
    for content, known in ((OURS, None), (PLAIN, published(len(PLAIN), proofless=True))):
        path = file_at(publisher, content)
        assert publisher.withdraw(CUTOUTS, NAME, may_replace=known)
        assert not path.exists()
        assert not publisher.withdraw(CUTOUTS, NAME, may_replace=known)


def test_results_wait_aside_for_their_photo(publisher: Publisher) -> None:
    """They are found by what they were made of, each kind for itself, until they are cleared."""
    path = file_at(publisher, OURS)
    assert publisher.find_aside(CUTOUTS, SHA) is None
    assert publisher.set_aside(CUTOUTS, NAME, SHA)
    assert not path.exists()
    found = publisher.find_aside(CUTOUTS, SHA)
    assert found is not None
    assert proof.read(Path(found).read_bytes()) == Proof(SHA, "api hard")
    assert publisher.find_aside(MASKS, SHA) is None
    assert not publisher.set_aside(CUTOUTS, NAME, SHA)
    publisher.clear_aside(no_one)
    assert publisher.find_aside(CUTOUTS, SHA) is None
    assert os.listdir(Path(publisher.root) / ".hbseg") == []
    publisher.clear_aside(no_one)
    file_at(publisher, OURS)
    assert publisher.set_aside(CUTOUTS, NAME, SHA)


def test_results_on_another_disk_go_aside_too(tmp_path: Path) -> None:
    """A folder of the output may be a link to another disk: then the file is copied."""

    class TwoDisks(RealDisk):
        def rename(self, old: str, new: str) -> None:
            if os.path.dirname(old) != os.path.dirname(new):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            super().rename(old, new)

    publisher = Publisher(str(tmp_path), durable=True, disk=TwoDisks())
    path = file_at(publisher, OURS)
    assert publisher.set_aside(CUTOUTS, NAME, SHA)
    found = publisher.find_aside(CUTOUTS, SHA)
    assert found is not None and Path(found).read_bytes() == OURS
    assert not path.exists()
    assert os.listdir(os.path.dirname(found)) == [os.path.basename(found)]


ACTS: dict[str, Callable[[Publisher], object]] = {
    "make_folder": lambda publisher: publisher.make_folder(CUTOUTS, "x/y/z.png"),
    "publish": lambda publisher: publisher.publish(CUTOUTS, NAME, OTHER),
    "move": lambda publisher: publisher.move(CUTOUTS, NAME, "x/y/z.png"),
    "withdraw": lambda publisher: publisher.withdraw(CUTOUTS, NAME),
    "set_aside": lambda publisher: publisher.set_aside(CUTOUTS, NAME, SHA),
}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("act", ACTS)
def test_every_call_may_fail(tmp_path: Path, act: str, number: int) -> None:
    """Whichever call to the disk fails: an OutputError that names the path, never a raw OSError;
    the file of before is whole, at its old place or its new one."""
    for n in range(1, 30):
        root = tmp_path / str(n)
        disk = FailingDisk(n, number)
        publisher = Publisher(str(root), durable=True, disk=disk)
        file_at(publisher, OURS)
        try:
            ACTS[act](publisher)
        except OutputError as error:
            assert str(root) in str(error)  # noqa: PT017 - the last one succeeds
        else:
            assert disk.left > 0
            break
        names = [path for path in root.rglob("*.png") if path.is_file()]
        # What is replaced by another photo's results waits aside, so both may be there.
        assert act == "withdraw" or 1 <= len(names) <= 1 + (act == "publish")
        assert all(proof.read(path.read_bytes()) for path in names)
    assert n > 1


def test_clearing_never_raises(tmp_path: Path) -> None:
    """What cannot be removed waits for the next run."""
    publisher = Publisher(str(tmp_path), durable=True)
    file_at(publisher, OURS)
    publisher.set_aside(CUTOUTS, NAME, SHA)
    Publisher(str(tmp_path), durable=True, disk=FailingDisk(1, errno.EIO)).clear_aside(no_one)
    assert publisher.find_aside(CUTOUTS, SHA) is not None
    publisher.clear_aside(no_one)
    assert publisher.find_aside(CUTOUTS, SHA) is None


def test_a_link_at_the_name_of_a_temporary_file_is_not_followed(publisher: Publisher) -> None:
    """It would be written through to a file of somebody else's."""
    path = file_at(publisher)
    victim = path.parent / "victim"
    victim.write_bytes(b"mine")
    os.symlink(victim, temporary_path(str(path)))
    with pytest.raises(OutputError):
        publisher.publish(CUTOUTS, NAME, OURS)
    assert victim.read_bytes() == b"mine"


def test_what_was_made_of_another_photo_is_kept(publisher: Publisher) -> None:
    """Results at a name that are of other bytes are set aside under what their proof says, not
    lost: their photo may come later."""
    path = file_at(publisher, OURS)
    publisher.publish(CUTOUTS, NAME, proof.attach(PLAIN, proof.Proof("7" * 64, "engine=api")))
    kept = publisher.find_aside(CUTOUTS, SHA)
    assert kept is not None and Path(kept).read_bytes() == OURS
    assert path.read_bytes() != OURS


FOREIGN_CONTENTS = {
    "Photoshop": b"8BPS" + bytes(range(200)),
    "GIMP": b"gimp xcf v011" + bytes(range(200)),
    "JPEG XL": b"\xff\x0a" + bytes(range(200)),
    "PDF": b"%PDF-1.7\n" + bytes(range(200)),
    "text": b"notes about this picture " * 8,
    "an iPhone's PNG": OURS[:8] + b"\0\0\0\x04CgBI\x50\0\x20\x02\x2b\xd5\xb3\x7f" + OURS[8:300],
}


@pytest.mark.parametrize("kind", FOREIGN_CONTENTS)
def test_a_users_file_in_the_place_of_a_published_one_stays(
    publisher: Publisher, kind: str
) -> None:
    """Whatever a user puts at the name of a result, where the journal knows one: it is neither
    replaced, nor moved, nor removed."""
    path = file_at(publisher, FOREIGN_CONTENTS[kind])
    known = published(5000)
    with pytest.raises(PhotoError):
        publisher.publish(CUTOUTS, NAME, OURS, may_replace=known)
    assert not publisher.withdraw(CUTOUTS, NAME, may_replace=known)
    assert not publisher.set_aside(CUTOUTS, NAME, SHA, may_replace=known)
    assert not publisher.move(CUTOUTS, NAME, "elsewhere.png", may_replace=known)
    assert path.read_bytes() == FOREIGN_CONTENTS[kind]


def test_a_huge_file_is_not_read(publisher: Publisher) -> None:
    """A sparse file of 200 GB at a result's name is refused without being loaded."""
    path = file_at(publisher, b"x")
    os.truncate(path, 200 << 30)
    with pytest.raises(PhotoError):
        publisher.check_place(CUTOUTS, NAME, may_replace=published(5000))
