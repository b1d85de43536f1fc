"""HTTP as the fake of the API speaks it: forms read, answers and pages written."""

from __future__ import annotations

import json
import re
import time
import uuid
from http import HTTPStatus
from typing import Any

from fake_behaviour import ERRORS


def error_answer(message: str, request_id: str, time_used: int) -> bytes:
    fields: dict[str, Any] = {"error_message": message}
    if not ERRORS[message.partition(":")[0]][1]:
        fields = {"time_used": time_used, **fields, "request_id": request_id}
    return json.dumps(fields).encode()


def http_answer(status: int, *body: bytes, content_type: str = "application/json") -> bytes:
    length = sum(map(len, body))
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {content_type}\r\n"
    return b"".join((f"{head}Content-Length: {length}\r\n\r\n".encode(), *body))


def html_page(status: int) -> bytes:
    page = f"<html><head><title>{status}</title></head><body><hr>nginx</body></html>\r\n"
    return http_answer(status, page.encode(), content_type="text/html")


def new_request_id() -> str:
    return f"{int(time.time())},{uuid.uuid4()}"


def form_fields(
    head: bytes, buffer: bytearray, body: memoryview
) -> tuple[dict[str, str], memoryview]:
    """The text fields and the upload of multipart/form-data; the upload stays where it is."""
    boundary = re.search(rb'(?i)boundary="?([^";\r\n]+)', head)
    fields: dict[str, str] = {}
    upload = body[:0]
    if boundary is None:
        return fields, upload
    start, delimiter = len(head), b"\r\n--" + boundary[1]
    at = start + len(delimiter)  # behind the first delimiter, which has no line end before it
    while (split := buffer.find(b"\r\n\r\n", at)) >= 0 and split < start + len(body):
        end = buffer.find(delimiter, split + 2)
        if end < 0:
            break
        name = re.search(rb'name="([^"]*)"', buffer[at:split])
        if name and name[1] == b"image_file":
            upload = body[split + 4 - start : end - start]
        elif name:
            fields[name[1].decode()] = bytes(buffer[split + 4 : end]).decode()
        at = end + len(delimiter)
    return fields, upload
