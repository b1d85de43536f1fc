"""A decode on the server that does not come back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from server_fixture import message, picture, running, script

STUCK = """
import time
from PIL import ImageFile
clock, load = time.monotonic, ImageFile.ImageFile.load
time.monotonic = lambda: 20 * clock()  # half a minute is a second and a half
def stuck(image):
    while image.size[0] == 99:
        time.sleep(9)
    return load(image)
ImageFile.ImageFile.load = stuck
"""


def test_decodes_that_do_not_come_back_are_answered_and_let_others_in() -> None:
    """As many photos as there are threads stand in their decoder: each client is told so in its
    time, and another photo is done."""
    settings = "local=LocalSettings(threads=2)"
    with running(script=script(settings, before=STUCK)) as server, ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: server.post(image=picture((99, 90))), range(2)))
        assert {message(answer) for answer in answers} == {"INTERNAL_ERROR"}
        assert server.post(image=picture()).status_code == 200
