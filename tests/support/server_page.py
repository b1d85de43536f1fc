"""The server's page in a browser: opening it, and dropping photos onto it."""

from __future__ import annotations

import json
from pathlib import Path

from browser import Browser, Tab

SHOWN = (
    "!document.getElementById('result').hidden && document.getElementById('cutout').naturalWidth"
)


def opened(browser: Browser, address: str, language: str = "en-GB", width: int = 1300) -> Tab:
    """A tab with this page, in a browser of this language."""
    tab = browser.tab(width=width)
    agent = tab.js("navigator.userAgent")
    tab.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=language)
    tab.call("Page.navigate", url=address)
    tab.until("document.readyState === 'complete' && location.protocol === 'http:'")
    return tab


def drop(tab: Tab, name: str, data: str) -> None:
    """Drop a file onto the box: ``data`` is an expression of its contents."""
    tab.js(
        f"(async () => {{ const held = new DataTransfer();"
        f"held.items.add(new File([{data}], {json.dumps(name)}));"
        f"for (const kind of ['dragenter', 'dragover', 'drop'])"
        f" document.getElementById('drop').dispatchEvent("
        f"  new DragEvent(kind, {{dataTransfer: held, bubbles: true, cancelable: true}})); }})()"
    )


def contents(path: Path) -> str:
    return f"new Uint8Array({list(path.read_bytes())})"
