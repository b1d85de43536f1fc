"""What a client without a key may cost the server."""

from __future__ import annotations

import resource
from functools import partial

import httpx
from server_fixture import PORTRAIT, message, running

PROCESSOR = 10
"""Seconds of the processor that the server may use before the system ends it."""


def test_escapes_without_a_key_cost_next_to_nothing() -> None:
    """Two dozen bodies of 2 MB of ``%`` from a stranger: each is refused for its missing key, and
    the server has time left for a photo."""
    body = b"image_base64=" + b"%" * 1_990_000
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    limit = partial(resource.setrlimit, resource.RLIMIT_CPU, (PROCESSOR, PROCESSOR))
    with running(preexec_fn=limit) as server:
        for _ in range(24):
            answer = httpx.post(server.url, content=body, headers=kind, trust_env=False, timeout=50)
            assert message(answer) == "MISSING_ARGUMENTS: api_key"
        assert server.post(image=PORTRAIT).status_code == 200
