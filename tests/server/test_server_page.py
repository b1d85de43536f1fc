"""The page at ``/`` in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from browser import CHROMIUM, Browser, Tab
from conftest import GRACE
from server_fixture import PATH, Server, noise, running, serving_keys
from server_page import SHOWN, contents, drop, opened

from humanbody_cli.core import api_spec

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def keyed() -> Iterator[Server]:
    with serving_keys() as started:
        yield started


@pytest.mark.parametrize(
    ("language", "width", "words"),
    [
        ("en-GB", 1300, ("Cutout", "sure", "No key is needed here")),
        ("zh-CN", 390, ("抠图", "可靠", "这里不需要密钥")),
    ],
)
def test_a_dropped_photo_is_cut_out(
    browser: Browser, server: Server, language: str, width: int, words: tuple[str, str, str]
) -> None:
    """In the browser's language and at a phone's width too: the photo, its cutout with transparent
    corners and a person in the middle, its mask, what is said of it, and a link to save it. Nothing
    is loaded from elsewhere, and the console is empty."""
    tab = opened(browser, server.endpoint, language, width=width)
    drop(tab, "me & <you>.jpg", contents(GRACE))
    tab.until(SHOWN)
    captions, badge, access = words
    assert captions in tab.texts("figcaption")
    assert tab.texts("#badge") == [badge]
    assert tab.texts("#access")[0].startswith(access)
    assert pixels(tab, "cutout", [(0.01, 0.05), (0.5, 0.5)]) == [0, 255]
    assert tab.js("document.getElementById('mask').naturalHeight") == 600
    assert tab.js("document.getElementById('save-cutout').download") == "me & <you>-cutout.png"
    assert tab.js("document.documentElement.scrollWidth") <= width
    here = (server.endpoint + "/", f"blob:{server.endpoint}/")
    assert all(one.startswith(here) for one in tab.requests() if not one.startswith("about:"))
    assert tab.complaints() == []
    tab.close()


def pixels(tab: Tab, element: str, places: list[tuple[float, float]]) -> list[int]:
    """The opacity of a picture at these places, given as parts of its width and height."""
    found = tab.js(
        f"((image) => {{ const canvas = document.createElement('canvas');"
        f"canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;"
        f"const drawn = canvas.getContext('2d', {{willReadFrequently: true}});"
        f"drawn.drawImage(image, 0, 0);"
        f"return {json.dumps(places)}.map(([x, y]) => drawn.getImageData("
        f"  x * canvas.width, y * canvas.height, 1, 1).data[3]); }})"
        f"(document.getElementById('{element}'))"
    )
    return list(found)


def test_the_language_can_be_switched(browser: Browser, server: Server) -> None:
    """Everything on the page changes, a result that is shown included, and it stays so."""
    tab = opened(browser, server.endpoint, "fr-FR")
    tab.choose_file("#file", GRACE)
    tab.until(SHOWN)
    assert tab.texts("#badge") == ["sure"]
    tab.click("[data-language=zh]")
    assert tab.texts("#badge") == ["可靠"]
    assert tab.js("document.documentElement.lang") == "zh-CN"
    letters = re.compile(r"[A-Za-z]{3,}")
    taken = {"API", "Key", "Secret", "HumanBody", "Segment", "HBSEG", "KEY", "SECRET", "JPG", "PNG"}
    said = " ".join(tab.texts("[data-word], #access, #pair, #verdict, dt"))
    assert set(letters.findall(said)) <= taken
    tab.js("window.isOld = true")
    tab.call("Page.reload")
    tab.until("!window.isOld && document.documentElement?.lang === 'zh-CN'")
    tab.close()


def test_the_commands_are_for_this_server(browser: Browser, server: Server) -> None:
    """The address of the API, and a curl line that names it; without scripts too."""
    tab = opened(browser, server.endpoint)
    assert tab.texts("#endpoint") == [server.url]
    assert tab.texts("#curl")[0].startswith(f"curl -s {server.url} ")
    assert tab.texts("#command")[0].endswith(f"--endpoint {server.endpoint}")
    assert (
        f'curl -s <span class="origin">{server.endpoint}</span>{PATH}'
        in httpx.get(server.endpoint, trust_env=False).text
    )
    tab.close()


def test_a_large_photo_is_shrunk_by_the_browser(
    browser: Browser, server: Server, tmp_path: Path
) -> None:
    """A PNG of more than 2 MB arrives as a JPG within the API's limits, and the page says so."""
    photo = tmp_path / "large.png"
    photo.write_bytes(noise((1700, 1500)))
    tab = opened(browser, server.endpoint)
    tab.choose_file("#file", photo)
    tab.until(SHOWN)
    assert "1700 × 1500" in tab.texts("#message")[0] or "shrunk" in tab.texts("#message")[0]
    tab.close()


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("notes.txt", "'no picture'", "notes.txt is not a photo"),
        (
            "half.png",
            "new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10])",
            "half.png is not a photo",
        ),
    ],
)
def test_what_is_not_a_photo_is_told(
    browser: Browser, server: Server, name: str, data: str, expected: str
) -> None:
    """In a sentence, by the browser or by the server; then another photo works."""
    tab = opened(browser, server.endpoint)
    drop(tab, name, data)
    tab.until("document.querySelector('.message.error')")
    assert expected in tab.texts("#message")[0]
    drop(tab, "me.jpg", contents(GRACE))
    tab.until(SHOWN)
    assert tab.js("document.getElementById('message').hidden")
    tab.close()


def test_a_pasted_photo_is_cut_out(browser: Browser, server: Server) -> None:
    """A picture from the clipboard; pasted text does nothing."""
    tab = opened(browser, server.endpoint)
    tab.js(
        "(() => { const held = new DataTransfer(); held.setData('text/plain', 'words');"
        "dispatchEvent(new ClipboardEvent('paste', {clipboardData: held})); })()"
    )
    assert tab.js("document.getElementById('message').hidden")
    tab.js(
        "(() => { const held = new DataTransfer();"
        f"held.items.add(new File([{contents(GRACE)}], 'image.jpg', {{type: 'image/jpeg'}}));"
        "dispatchEvent(new ClipboardEvent('paste', {clipboardData: held})); })()"
    )
    tab.until(SHOWN)
    tab.close()


def test_a_server_that_has_ended_is_told(browser: Browser) -> None:
    """The page is still open, and says in a sentence that nobody answers."""
    with running() as server:
        tab = opened(browser, server.endpoint)
        assert server.stop() == 0
    drop(tab, "me.jpg", contents(GRACE))
    tab.until("document.querySelector('.message.error')")
    assert tab.texts("#message")[0].startswith("The server did not answer.")
    tab.close()


def test_with_keys_the_page_asks_for_them(browser: Browser, keyed: Server) -> None:
    """Nothing is sent without them; a wrong pair is told; the right one works, and is stored
    nowhere."""
    tab = opened(browser, keyed.endpoint)
    drop(tab, "me.jpg", contents(GRACE))
    assert tab.texts("#message") == ["Enter an API key and its secret first."]
    assert keyed.url not in tab.requests()
    tab.click("#key")
    tab.type("good")
    tab.click("#secret")
    tab.type("wrong")
    drop(tab, "me.jpg", contents(GRACE))
    tab.until("document.querySelector('.message.error')?.textContent.includes('do not match')")
    tab.js("document.getElementById('secret').value = 'secret'")
    drop(tab, "me.jpg", contents(GRACE))
    tab.until(SHOWN)
    assert tab.js("[...Object.values(localStorage), document.cookie].join()") == ""
    assert tab.js("Object.keys(sessionStorage).length") == 0
    tab.close()


def test_every_error_has_its_sentence() -> None:
    """Each code of the API, in both languages."""
    page = (Path(__file__).parents[2] / "humanbody_cli/server/pages/files/words.js").read_text()
    for row in api_spec.ROWS:
        assert len(re.findall(rf'^\s+"?{re.escape(row.code)}"?: "', page, re.MULTILINE)) == 2
    words = re.findall(r"^    (\w+): \"", page, re.MULTILINE)
    assert len(words) == 2 * len(set(words))


def test_the_page_is_served_with_care(server: Server) -> None:
    """Nothing but its own files may run or load, nobody may frame it; it is asked for each time,
    its files are kept for good; HEAD works."""
    page = httpx.get(server.endpoint, trust_env=False)
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-frame-options"] == "DENY"
    assert page.headers["cache-control"] == "no-cache"
    known = {"If-None-Match": page.headers["etag"]}
    assert httpx.get(server.endpoint, headers=known, trust_env=False).status_code == 304
    assert not re.search(r"<(script|style)[^>]*>[^<]|\son\w+=|\sstyle=|https?://(?!127)", page.text)
    files = re.findall(r'(?:href|src)="(/page/[^"]+)"', page.text)
    assert len(set(files)) == 3
    for file in files:
        kept = httpx.get(server.endpoint + file, trust_env=False)
        assert "immutable" in kept.headers["cache-control"]
    head = httpx.head(server.endpoint, trust_env=False)
    assert (head.status_code, head.content) == (200, b"")
    assert server.secret not in page.text


def test_a_host_that_is_markup_stays_text(keyed: Server) -> None:
    """Host comes from the client."""
    text = httpx.get(
        keyed.endpoint, headers={"Host": "<script>alert(1)</script>"}, trust_env=False
    ).text
    assert "<script>alert" not in text
