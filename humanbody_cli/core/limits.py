"""The API's limits on photos, from the document's section on image requirements."""

from __future__ import annotations

MIN_SIDE = 48
"""Pixels, each side."""

MAX_SIDE = 4096
"""Pixels, each side."""

MAX_BYTES = 2 * 1024 * 1024
"""Bytes of the photo, and of the whole request too: the gateway answers 413 beyond it."""

DEFAULT_ENDPOINT = "https://api-cn.faceplusplus.com"
OFFICIAL_HOSTS = frozenset({"api-cn.faceplusplus.com", "api-us.faceplusplus.com"})
"""The provider's own hosts. Keys are regional, the service is one."""

SEGMENT_PATH = "/humanbodypp/v2/segment"

FREE_QPS = 3.0
"""Calls a second of a free key, as seen for the sibling APIs of the same account."""
