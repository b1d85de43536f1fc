"""The proof inside a published PNG: it stands for these bytes and these options, or for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import chunk, chunks_of, exif, noise, opened, other_profile, png, png_from
from PIL import Image

from humanbody_cli.imaging import cutouts, proof
from humanbody_cli.imaging import png_check as png_module
from humanbody_cli.imaging.proof import Proof

SHA = "0123456789abcdef" * 4
GRAY = png(Image.effect_noise((20, 12), 60))
RICH = png(
    noise((24, 16)).convert("RGBA"), icc_profile=other_profile(), exif=exif(1, gps=True).tobytes()
)
PICTURES = [GRAY, RICH, png(noise((8, 8)).quantize(4)), GRAY + b"behind the end"]

proofs = st.builds(
    Proof,
    sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    made=st.text(st.characters(), max_size=300),  # lone surrogates too: names that are no text
    doubt=st.none() | st.floats(0, 1).map(lambda doubt: round(doubt, 4)),
)


@given(st.sampled_from(PICTURES), proofs)
def test_what_is_attached_is_read(picture: bytes, one: Proof) -> None:
    """The proof comes back, from the bytes and from the beginning of the file."""
    made = proof.attach(picture, one)
    assert proof.read(made) == one
    assert proof.attach(picture, one) == made, "the same arguments give the same bytes"


@given(st.sampled_from(PICTURES), proofs, proofs)
def test_attaching_replaces(picture: bytes, one: Proof, other: Proof) -> None:
    """Attached again nothing changes, another proof takes the place of the first."""
    made = proof.attach(picture, one)
    assert proof.attach(made, one) == made
    assert proof.attach(made, other) == proof.attach(picture, other)


@pytest.mark.parametrize("picture", PICTURES)
def test_the_picture_stays_what_it_was(picture: bytes) -> None:
    """Pillow sees the same pixels, profile and Exif; no other chunk is touched; the chunk stands
    right behind IHDR, under a name that editors drop when they change the picture."""
    made = proof.attach(picture, Proof(SHA, "api hard"))
    before, after = opened(picture), opened(made)
    assert after.tobytes() == before.tobytes()
    assert after.info == before.info
    assert after.getexif() == before.getexif()
    png_module.verify(made)
    if picture is not PICTURES[-1]:
        (kind, _), *rest = chunks_of(made)[1:]
        assert chunks_of(picture)[1:] == rest
        ancillary, private, reserved, safe_to_copy = (bool(letter & 0x20) for letter in kind)
        assert (ancillary, private, reserved, safe_to_copy) == (True, True, False, False)


@pytest.mark.parametrize("picture", PICTURES[:2])
def test_any_changed_byte_makes_the_file_prove_nothing(picture: bytes) -> None:
    """Each byte of the file, the chunk's own among them; and each place where it may end early."""
    made = proof.attach(picture, Proof(SHA, "api hard", 0.1))
    for at in range(len(made)):
        for flip in (0x01, 0x20, 0xFF):
            changed = bytearray(made)
            changed[at] ^= flip
            assert proof.read(bytes(changed)) is None, at
        assert proof.read(made[:at]) is None
    assert proof.read(made + b"\0") is None


def test_a_tool_that_keeps_the_chunk_proves_nothing() -> None:
    """Pixels changed or a text added, checksums of the chunks all sound: the chunk alone is no
    proof. `peek`, which is for many files, sees no more than the chunk."""
    head, mark, *rest = chunks_of(proof.attach(RICH, Proof(SHA, "api hard")))
    assert proof.read(png_from([head, mark, *rest])) is not None
    assert proof.read(png_from([head, mark, (b"tEXt", b"Comment\0edited"), *rest])) is None
    pixels = chunks_of(png(noise((24, 16), seed=2).convert("RGBA")))[1:]
    assert proof.read(png_from([head, mark, *pixels])) is None


def test_a_proof_that_was_moved_counts_once() -> None:
    """A tool may sort chunks: such a proof is none, and attaching again leaves no second one."""
    one = Proof(SHA, "api hard")
    head, mark, *rest = chunks_of(proof.attach(RICH, one))
    sorted_anew = png_from([head, *rest[:-1], mark, rest[-1]])
    assert proof.read(sorted_anew) is None
    assert proof.attach(sorted_anew, one) == proof.attach(RICH, one)


def test_peek_reads_the_beginning_only(tmp_path: Path) -> None:
    """However long the options' text; a file that is gone, a folder and a plain PNG have none."""
    path = tmp_path / "a.png"
    for made in ("api hard", "model " + "\udcff" * 255):
        one = Proof(SHA, made, 0.25)
        path.write_bytes(proof.attach(RICH, one))
        assert proof.peek(str(path)) == one
    path.write_bytes(path.read_bytes()[:-200])
    assert proof.peek(str(path)) == one
    assert proof.read(path.read_bytes()) is None
    path.write_bytes(RICH)
    for other in (path, tmp_path, tmp_path / "gone"):
        assert proof.peek(str(other)) is None


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[1]",
        b"[" * 8000,
        b'{"version": 2, "sha256": "%s", "made": "", "crc32": "0"}' % SHA.encode(),
        b'{"version": 1, "sha256": "abc", "made": "", "crc32": "0"}',
        b'{"version": 1, "sha256": "%s", "made": 1, "crc32": "0"}' % SHA.encode(),
        b'{"version": 1, "sha256": "%s", "made": "", "crc32": 0}' % SHA.encode(),
        b'{"version": 1, "sha256": "%s", "made": "", "doubt": "", "crc32": "0"}' % SHA.encode(),
        b"\xff" * 40,
    ],
)
def test_a_chunk_that_says_something_else_is_no_proof(tmp_path: Path, text: bytes) -> None:
    """A sound chunk of this name with any other content."""
    after_header = len(png_module.SIGNATURE) + 25
    data = RICH[:after_header] + chunk(proof.CHUNK, text) + RICH[after_header:]
    assert proof.read(data) is None
    (tmp_path / "a.png").write_bytes(data)
    assert proof.peek(str(tmp_path / "a.png")) is None


@pytest.mark.parametrize("data", [b"", b"no picture", GRAY[:40], GRAY[:-1], b"\xff\xd8" + GRAY])
def test_only_a_whole_png_takes_a_proof(data: bytes) -> None:
    """Anything else is a mistake of the caller's."""
    with pytest.raises(png_module.BrokenPng):
        proof.attach(data, Proof(SHA, ""))
    assert proof.read(data) is None


@pytest.mark.parametrize("one", [Proof("abc", ""), Proof(SHA.upper(), ""), Proof(SHA, "x" * 9000)])
def test_a_proof_that_could_not_be_read_is_not_written(one: Proof) -> None:
    """A sha256 that is none, and a text that `peek` would not read to its end."""
    with pytest.raises(ValueError, match=r"sha256|too long"):
        proof.attach(GRAY, one)


@pytest.mark.parametrize("doubt", [0, 1, 0.123456, float("nan")])
def test_a_doubt_keeps_four_digits(doubt: float) -> None:
    """As the records do; what is no number is none."""
    found = proof.read(proof.attach(GRAY, Proof(SHA, "", doubt)))
    assert found is not None
    assert found.doubt == (round(doubt, 4) if doubt == doubt else None)


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_a_seal_says_what_the_file_was_made_of(tmp_path: Path, kind: str) -> None:
    """Also behind a profile and Exif; not once a byte has changed, and not to another kind."""
    made = proof.digest_of("photo", "options")
    labels = cutouts.Labels("single", made, b"profile" * 900, b"MM\0*" + bytes(2000))
    image = Image.new("RGBA" if kind != "jpg" else "RGB", (300, 200))
    data = cutouts.encoded(image, cutouts.Recipe(format=kind), labels)
    assert proof.made_of(data, "single") == made
    assert proof.made_of(data, "recomposed") is None
    assert proof.made_of(data + b"!", "single") is None
    path = tmp_path / "x"
    path.write_bytes(data)
    assert proof.may_be_sealed(str(path), "single")
    assert not proof.may_be_sealed(str(path), "recomposed")
    assert not proof.may_be_sealed(str(tmp_path / "gone"), "single")


def test_a_seal_need_not_say_what_it_was_made_of() -> None:
    """As the report's, and those of earlier versions."""
    sealed = proof.sealed(f"<!-- {proof.blank('report')} -->".encode(), "report")
    assert proof.is_sealed(sealed, "report")
    assert proof.made_of(sealed, "report") is None
