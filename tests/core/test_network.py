"""The certificates that calls and downloads trust."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest
from odd_servers import over_tls

from humanbody_cli.core.network import tls_context


def authorities(file: str) -> set[str]:
    """The serial numbers of the certificates in a file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cafile=file)
    return serials(context)


def serials(context: ssl.SSLContext) -> set[str]:
    return {str(certificate["serialNumber"]) for certificate in context.get_ca_certs()}


@pytest.fixture
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither variable names certificates."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)


@pytest.mark.usefixtures("no_variables")
def test_certifi_is_trusted_beside_the_system() -> None:
    """With neither variable set, certifi's certificates count too; servers are verified."""
    context = tls_context()
    assert authorities(certifi.where()) <= serials(context)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.usefixtures("no_variables")
def test_a_file_of_certificates_takes_the_place_of_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``SSL_CERT_FILE`` is trusted, and certifi's certificates are not."""
    _, certificate = over_tls(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    trusted = serials(tls_context())
    assert authorities(str(certificate)) == trusted
    assert not authorities(certifi.where()) & trusted


@pytest.mark.usefixtures("no_variables")
def test_a_folder_of_certificates_takes_the_place_of_certifi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``SSL_CERT_DIR`` is read by OpenSSL as it needs it; certifi's are not loaded."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert not authorities(certifi.where()) <= serials(tls_context())
