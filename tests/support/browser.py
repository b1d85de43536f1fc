"""A real Chromium without a window, driven through its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
"""The browser's command, if one is installed."""

_SECONDS = 30.0
"""The longest wait for one answer or for the browser to start."""

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run "
    "--no-default-browser-check --disable-background-networking --disable-component-update "
    "--disable-sync --disable-extensions --remote-debugging-port=0 --hide-scrollbars"
).split()

_NAMES = "--host-resolver-rules=MAP *.test 127.0.0.1"
"""Names of other machines that lead to this one."""

_KEYS = {
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    "Tab": ("Tab", 9, ""),
    " ": ("Space", 32, " "),
    "ArrowLeft": ("ArrowLeft", 37, ""),
    "ArrowUp": ("ArrowUp", 38, ""),
    "ArrowRight": ("ArrowRight", 39, ""),
    "ArrowDown": ("ArrowDown", 40, ""),
    "End": ("End", 35, ""),
    "Home": ("Home", 36, ""),
}


class Trouble(AssertionError):
    """The browser or the page's script reported an error."""


@dataclass
class Browser:
    """One process of Chromium with a profile of its own."""

    process: subprocess.Popen[bytes]
    socket: ClientConnection
    tabs: dict[str, Tab] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self.socket.send(json.dumps({**message, **({"sessionId": session} if session else {})}))
        while True:
            answer = json.loads(self.socket.recv(_SECONDS))
            if answer.get("id") == number:
                if "error" in answer:
                    raise Trouble(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            if (tab := self.tabs.get(answer.get("sessionId", ""))) is not None:
                tab.events.append(answer)

    def tab(self, *, width: int = 1300, height: int = 900, dark: bool = False) -> Tab:
        """A new page of this size (pixels), with an empty storage of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        made = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        how = {"targetId": made["targetId"], "flatten": True}
        session = self.call("Target.attachToTarget", **how)["sessionId"]
        tab = Tab(self, session, context)
        self.tabs[session] = tab
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        tab.call("Emulation.setEmulatedMedia", features=[scheme])
        tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
        return tab


@dataclass
class Tab:
    """One page. ``events`` is what the browser told of it."""

    browser: Browser
    session: str
    context: str
    events: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol for this page."""
        return self.browser.call(method, self.session, **parameters)

    def close(self) -> None:
        """Close it, and forget what it stored."""
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)

    def resize(self, width: int, height: int) -> None:
        """Another size of the window, in pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def open(self, path: Path) -> None:
        """Open a file, and wait until the page has its first photos."""
        self.call("Page.navigate", url=path.absolute().as_uri())
        self.until("document.readyState === 'complete'")

    def js(self, expression: str) -> Any:
        """The value of an expression, or what a promise comes to.

        Raises:
            Trouble: the script raised an error.
        """
        result = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            raise Trouble(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a condition holds.

        Raises:
            Trouble: it does not within the time.
        """
        deadline = time.monotonic() + _SECONDS
        while not self.js(f"Boolean({condition})"):
            if time.monotonic() > deadline:
                raise Trouble(f"never true: {condition}")
            self.js("new Promise((done) => setTimeout(done, 15))")

    def texts(self, selector: str) -> list[str]:
        """The text of every element that a selector finds, as a person sees it."""
        found = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return list(self.js(f"{found}.map((one) => one.innerText)"))

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of the first element that a selector finds, in pixels."""
        rect = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        left, top, width, height = self.js(f"((r) => [r.x, r.y, r.width, r.height])({rect})")
        return left, top, width, height

    def mouse(self, kind: str, x: float, y: float, *, held: bool = False) -> None:
        """Press, move or release the mouse at a place."""
        button = "left" if held or kind != "mouseMoved" else "none"
        how = {"button": button, "buttons": int(held), "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **how)

    def click(self, selector: str) -> None:
        """Click into the middle of an element."""
        left, top, width, height = self.box(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, left + width / 2, top + height / 2)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Drag the mouse from one place to another."""
        self.mouse("mousePressed", *start, held=True)
        self.mouse("mouseMoved", *end, held=True)
        self.mouse("mouseReleased", *end)

    def touch_drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """The same with a finger."""
        self.call("Emulation.setTouchEmulationEnabled", enabled=True)
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        for kind, places in (
            ("touchStart", [start]),
            ("touchMove", [middle]),
            ("touchMove", [end]),
            ("touchEnd", []),
        ):
            points = [{"x": x, "y": y} for x, y in places]
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    def key(self, name: str) -> None:
        """Press a key: a character, or a name such as ``ArrowLeft``."""
        code, number, text = _KEYS.get(name, ("", ord(name[0].upper()), name))
        how = {"key": name, "code": code, "windowsVirtualKeyCode": number}
        down = "keyDown" if text else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=down, text=text, **how)
        self.call("Input.dispatchKeyEvent", type="keyUp", **how)

    def type(self, text: str) -> None:
        """Type text into what has the focus."""
        self.call("Input.insertText", text=text)

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in an input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path.absolute())], nodeId=node)

    def screenshot(self) -> bytes:
        """The window as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def complaints(self) -> list[str]:
        """Everything that the page's console or the browser's log holds."""
        self.js("0")  # what was told until now has arrived
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event) for event in self.events if event["method"] in kinds]

    def requests(self) -> list[str]:
        """The address of every request, pictures included."""
        self.js("0")
        return [
            str(event["params"]["request"]["url"])
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; it ends with the block, with all its processes."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(prefix="hbseg-chromium-", ignore_cleanup_errors=True) as home:
        environment = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home}
        process = subprocess.Popen(
            [CHROMIUM, *_FLAGS, _NAMES, f"--user-data-dir={home}/profile", "about:blank"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            with connect(_address(Path(home, "profile")), max_size=None) as socket:
                yield Browser(process, socket)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _address(profile: Path) -> str:
    """Where a browser that has just been started listens: it writes that into its profile."""
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            port, path = (profile / "DevToolsActivePort").read_text().split("\n")
            return f"ws://127.0.0.1:{port}{path}"
        time.sleep(0.05)
    raise Trouble("Chromium did not start")
