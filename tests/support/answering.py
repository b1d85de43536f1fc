"""Error answers of servers, as the client understands them."""

from __future__ import annotations

from humanbody_cli.api.responses import Refusal, parse

NGINX = b"<html>\r\n<head><title>%b</title></head>\r\n<body>nginx/1.14.0</body>\r\n</html>\r\n"


def refusal(status: int, body: bytes) -> Refusal:
    """A refusal, and no success."""
    found = parse(status, body)
    assert isinstance(found, Refusal)
    return found
