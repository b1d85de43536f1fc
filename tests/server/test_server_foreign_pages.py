"""Pages of other origins, in a real browser, that try to use the server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from browser import CHROMIUM, Browser
from conftest import GRACE
from server_fixture import PATH, Server, running, site
from server_page import SHOWN, contents, drop, opened
from waiting import until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as started:
        yield started


ATTACK = """
<!doctype html><title>waiting</title><body><iframe name="frame" id="frame"></iframe>
<form id="form" method="post" enctype="multipart/form-data" target="frame" action="{url}">
<input type="file" name="image_file" id="file"></form>
<script>
const photo = new Blob([new Uint8Array({photo})], {{type: "image/jpeg"}});
function form() {{
  const form = new FormData();
  form.append("image_file", photo, "a.jpg");
  return form;
}}
const outcomes = {{}};
async function attempt(name, how, address) {{
  try {{
    const answer = await fetch(address ?? "{url}", how);
    outcomes[name] = answer.type + " " + answer.status + " " + (await answer.text());
  }} catch (error) {{ outcomes[name] = "failed"; }}
}}
async function attack() {{
  await attempt("simple", {{method: "POST", body: form()}});
  await attempt("own header", {{method: "POST", body: form(), headers: {{"hbseg-page": "1"}}}});
  await attempt("no-cors", {{method: "POST", body: form(), mode: "no-cors"}});
  await attempt("page", {{}}, "{endpoint}/");
  await attempt("figures", {{mode: "no-cors"}}, "{endpoint}/metrics");
  const held = new DataTransfer(); held.items.add(new File([photo], "a.jpg"));
  document.getElementById("file").files = held.files;
  document.getElementById("form").submit();
  document.title = "done";
}}
attack();
</script>
"""


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_gets_nothing(browser: Browser, server: Server, name: str) -> None:
    """Another port of this machine, by the same name (the same site) and by another: fetch, the
    page's own header, no-cors, a form that posts a photo into a frame. No photo is processed, and
    nothing can be read."""
    photo = list(GRACE.read_bytes())
    served = server.metric("hbseg_photo_seconds_count")
    attack = ATTACK.format(url=server.url, endpoint=server.endpoint, photo=photo)
    before = refused(server)
    with site({"/": attack.encode()}) as web:
        tab = opened(browser, web.replace("127.0.0.1", name))
        tab.until("document.title === 'done'")
        outcomes = tab.js("outcomes")
        assert until(lambda: refused(server) >= before + 6)
        tab.close()
    assert outcomes == {
        "simple": "failed",
        "own header": "failed",
        "no-cors": "opaque 0 ",
        "page": "failed",
        "figures": outcomes["figures"],
    }
    assert outcomes["figures"] in ("failed", "opaque 0 ")
    assert server.metric("hbseg_photo_seconds_count") == served


def refused(server: Server) -> int:
    """Requests that were refused as another origin's."""
    return server.log.read_text().count("Origin not allowed")


def test_the_page_cannot_be_framed(browser: Browser, server: Server) -> None:
    """A frame of another origin shows an error of the browser."""
    frame = f'<title>f</title><iframe id="f" src="{server.endpoint}/"></iframe>'
    before = refused(server)
    with site({"/": frame.encode()}) as web:
        tab = opened(browser, web)
        assert until(lambda: refused(server) > before)
        assert tab.js("document.getElementById('f').contentDocument") is None
        tab.close()


def test_a_link_leads_to_the_page(browser: Browser, server: Server) -> None:
    """From another site, and the page works then."""
    link = f'<title>l</title><a id="a" href="{server.endpoint}/">there</a>'
    with site({"/": link.encode()}) as web:
        tab = opened(browser, web)
        tab.click("#a")
        tab.until(f"location.origin === '{server.endpoint}' && document.readyState === 'complete'")
        drop(tab, "me.jpg", contents(GRACE))
        tab.until(SHOWN)
        tab.close()


def test_a_rebound_name_gets_nothing(browser: Browser, server: Server) -> None:
    """DNS rebinding: a page of http://evil.test, a name that leads to this machine. Its requests
    are of its own origin for the browser, and are refused for their Host; so is the page itself."""
    served = server.metric("hbseg_photo_seconds_count")
    tab = browser.tab()
    tab.call("Page.setBypassCSP", enabled=True)  # as the attacker's own page has none
    tab.call("Page.navigate", url=f"http://evil.test:{server.port}/")
    tab.until("location.hostname === 'evil.test' && document.readyState === 'complete'")
    assert tab.texts("body")[0].startswith("Host not allowed")
    sent = (
        "(() => { const form = new FormData();"
        f"form.append('image_file', new Blob([{contents(GRACE)}]), 'a.jpg');"
        f"return fetch('{PATH}', {{method: 'POST', body: form, headers: {{'hbseg-page': '1'}}}})"
        ".then((answer) => answer.text()); })()"
    )
    assert json.loads(tab.js(sent)) == {"error_message": "AUTHORIZATION_ERROR: Host not allowed"}
    assert server.metric("hbseg_photo_seconds_count") == served
    tab.close()
