"""The nginx configuration of docs/proxy.md in a real nginx, before a real ``hbseg serve``.

Only names, ports and the certificate are others.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from conftest import KEY, SECRET, Hbseg, files, photo
from pages import DOCS, Page
from server_fixture import running
from waiting import until

OPENSSL = shutil.which("openssl")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed"),
]

MAIN = """\
daemon off;
pid nginx.pid;
error_log stderr;
events { }
http {
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{page}
}
"""


@dataclass(frozen=True)
class Proxied:
    """The address at which nginx offers a server, and the certificate that it has there."""

    url: str
    certificate: Path


def free_port() -> int:
    """A port that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key, and a certificate of this machine that it signed itself."""
    key, made = folder / "key.pem", folder / "certificate.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split()
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    where = ["-keyout", str(key), "-out", str(made)]
    subprocess.run([str(OPENSSL), *words, *names, *where], check=True, capture_output=True)
    return key, made


@pytest.fixture
def proxied(tmp_path: Path) -> Iterator[Proxied]:
    """The page's configuration at work."""
    (text,) = [b.text for b in Page.read(DOCS / "proxy.md").blocks if b.language == "nginx"]
    folder = tmp_path / "nginx"
    folder.mkdir()
    key, made = certificate(folder)
    port = free_port()
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY} {SECRET} qps=50\n")
    keys.chmod(0o600)
    with running("--port", "0", "--keys", str(keys)) as server:
        for before, after in (
            ("127.0.0.1:8000", f"127.0.0.1:{server.port}"),
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("cutouts.example.com", "127.0.0.1"),
            ("/etc/ssl/cutouts.pem", str(made)),
            ("/etc/ssl/private/cutouts.key", str(key)),
        ):
            assert before in text
            text = text.replace(before, after)
        (folder / "nginx.conf").write_text(MAIN.replace("{page}", text))
        command = [str(NGINX), "-p", str(folder), "-c", "nginx.conf", "-e", "stderr"]
        if os.geteuid() == 0:  # its workers would be another user, who may not enter this folder
            command += ["-g", "user root;"]
        with open(folder / "log", "wb") as log:
            nginx = subprocess.Popen(command, stderr=log)
        try:
            assert until(lambda: is_open(port)), (folder / "log").read_text()
            yield Proxied(f"https://127.0.0.1:{port}", made)
        finally:
            nginx.terminate()
            nginx.wait(20)


def is_open(port: int) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_a_run_through_the_proxy(hbseg: Hbseg, proxied: Proxied, tmp_path: Path) -> None:
    """Photos are done over TLS, as without the proxy."""
    for seed in range(3):
        photo(tmp_path / "photos" / f"{seed}.jpg", seed=seed)
    keys = {"HBSEG_API_KEY": KEY, "HBSEG_API_SECRET": SECRET}
    trust = {"SSL_CERT_FILE": str(proxied.certificate)}
    ended = hbseg(
        "segment", "photos", "-o", "out", "--endpoint", proxied.url, env={**keys, **trust}
    )
    assert ended.code == 0, ended.err
    assert len(files(tmp_path / "out")) == 6
    assert "3 calls" in ended.err


def test_the_proxy_offers_the_api_alone(proxied: Proxied) -> None:
    """Neither the figures nor a page for people can be reached through it; errors are the server's
    own."""
    trusted = ssl.create_default_context(cafile=str(proxied.certificate))
    named = {"Host": "cutouts.example.com"}
    with httpx.Client(base_url=proxied.url, verify=trusted, headers=named) as client:
        for path in ("/", "/metrics", "/healthz", "/anything"):
            assert client.get(path).status_code == 404, path
            assert "nginx" in client.get(path).text
        too_large = client.post("/humanbodypp/v2/segment", content=b"x" * (5 << 19))
        assert too_large.status_code == 413
        assert "nginx" not in too_large.text
        form = {"api_key": KEY, "api_secret": "wrong"}
        refused = client.post("/humanbodypp/v2/segment", data=form)
        assert refused.json()["error_message"] == "AUTHENTICATION_ERROR"
