"""The set of digests is a set, in little memory."""

from __future__ import annotations

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from humanbody_cli.core.paths import Digests


@given(st.lists(st.text(st.characters(), max_size=4), max_size=400))
def test_it_tells_what_it_has_met(texts: list[str]) -> None:
    """Like a set of the texts themselves, surrogates included."""
    digests, met = Digests(), set[str]()
    for text in texts:
        assert (text in digests) == (text in met)
        assert digests.add(text) == (text not in met)
        met.add(text)
    assert len(digests) == len(met)
    assert all(text in digests for text in met)


def test_it_is_small() -> None:
    """At most 64 bytes a text, and half of that again while it grows."""
    tracemalloc.start()
    digests = Digests()
    for number in range(20_000):
        digests.add(f"/some/long/folder/of/photos/{number}.jpg")
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(digests) == 20_000
    assert now < 64 * 20_000
    assert peak < 100 * 20_000
