"""``hbseg report``: OUT/report.html for looking through the results, linked where they are.

Plain HTML that needs no server and no network. A page holds as many photos as a browser shows
easily; further pages are linked. Doubtful masks come first: they need a person's attention.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from itertools import islice
from urllib.parse import quote

from humanbody_cli.core.console import shown
from humanbody_cli.core.errors import output_error
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.imaging import proof
from humanbody_cli.jobs.inspection.status import counts
from humanbody_cli.storage import ownership
from humanbody_cli.storage.journal import Journal
from humanbody_cli.storage.ownership import always
from humanbody_cli.storage.publishing import Publisher

PHOTOS_PER_PAGE = 240

SEAL = "report"
"""The kind of seal that pages bear."""

_STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--warn:#b45309}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;margin:0 auto;max-width:1500px;padding:1.5rem}
h1{font-size:1.4rem;margin:0 0 .2rem}h2{font-size:1.05rem;margin:2rem 0 .6rem}
p{margin:.2rem 0 1rem}nav a{margin-right:.6rem}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(210px,1fr));gap:1rem}
figure{margin:0;border:1px solid var(--line);border-radius:8px;overflow:hidden}
.pair{display:block;position:relative;height:230px;
background:repeating-conic-gradient(#cfd3d8 0 25%,#f4f5f7 0 50%) 0 0/22px 22px}
.pair img{width:100%;height:100%;object-fit:contain;position:absolute;inset:0}
.pair img+img{opacity:0;background:#000}
.pair:hover img+img,.pair:focus img+img{opacity:1}
figcaption{padding:.45rem .6rem;font-size:13px;overflow-wrap:anywhere}
small{opacity:.75}.doubt{color:var(--warn);font-weight:600}
table{border-collapse:collapse;width:100%;font-size:14px}
td,th{border-bottom:1px solid var(--line);padding:.35rem .5rem;text-align:left;vertical-align:top;
overflow-wrap:anywhere}
"""


def write(journal: Journal) -> list[str]:
    """Write the page or pages; their paths, the first page first.

    Raises:
        OutputError: they cannot be written, or a file that is not a report of hbseg is in the way.
    """
    root = journal.root
    figures = counts(journal)
    pages = max(1, -(-figures[Status.DONE.value] // PHOTOS_PER_PAGE))
    paths = [os.path.join(root, _file(page)) for page in range(1, pages + 1)]
    for path in paths:
        ownership.check_replaceable(path, SEAL, "move it away")
    done = _by_doubt(journal)
    publisher = Publisher(root, durable=False)
    for page in range(1, pages + 1):
        photos = list(islice(done, PHOTOS_PER_PAGE))
        text = _page(journal, figures, photos, page, pages)
        data = proof.sealed(text.encode("utf-8", "replace"), SEAL)
        publisher.publish("", _file(page), data, may_replace=always)
    _remove_old(root, pages)
    return paths


def _remove_old(root: str, pages: int) -> None:
    """Pages of an earlier, longer report."""
    page = pages + 1
    while ownership.is_own(path := os.path.join(root, _file(page)), SEAL):
        try:
            os.unlink(path)
        except OSError as error:
            raise output_error(path, error) from error
        page += 1


def _file(page: int) -> str:
    return "report.html" if page == 1 else f"report-{page}.html"


def _by_doubt(journal: Journal) -> Iterator[Outcome]:
    """Done photos, the doubtful ones first, each part by name."""
    for doubtful in (True, False):
        for outcome in journal.outcomes(Status.DONE.value):
            if outcome.is_doubtful is doubtful:
                yield outcome


def _page(
    journal: Journal, figures: dict[str, object], photos: list[Outcome], page: int, pages: int
) -> str:
    heading = ", ".join(f"{figures[status.value]} {status.value}" for status in Status)
    links = "".join(
        f'<a href="{_file(n)}">{n}</a>' if n != page else f"<b>{n}</b> "
        for n in range(1, pages + 1)
    )
    body = "".join(_figure(journal.root, outcome) for outcome in photos)
    left_out = _left_out(journal) if page == 1 else ""
    return (
        f"<!doctype html>\n<!-- {proof.blank(SEAL)} -->\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>hbseg: {heading}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{heading}</h1><p>Calls: {figures['calls']}. "
        "Doubtful masks come first; hover over a picture to see its mask.</p>"
        + (f"<nav>Pages {links}</nav>" if pages > 1 else "")
        + left_out
        + f'<h2>Cutouts</h2><div class="grid">{body}</div></body></html>\n'
    )


def _figure(root: str, outcome: Outcome) -> str:
    pictures = [path for path in (outcome.cutout, outcome.mask) if path is not None]
    images = "".join(
        f'<img loading="lazy" decoding="async" src="{_link(root, path)}" '
        f'alt="{"cutout" if index == 0 else "mask"} of {_text(outcome.source)}">'
        for index, path in enumerate(pictures)
    )
    link = _link(root, pictures[0]) if pictures else "#"
    doubt = f'<span class="doubt">doubt {outcome.doubt:.2f}</span>' if outcome.is_doubtful else ""
    covered = f"{outcome.coverage:.0%} person" if outcome.coverage is not None else ""
    return (
        f'<figure><a class="pair" href="{link}">{images}</a><figcaption>{_text(outcome.source)}'
        f"<br><small>{outcome.width} × {outcome.height}, {covered}</small> {doubt}</figcaption>"
        "</figure>"
    )


def _left_out(journal: Journal) -> str:
    rows = "".join(
        f"<tr><td>{_text(outcome.source)}</td><td>{outcome.status.value}</td>"
        f"<td>{_text(outcome.code or '')}</td><td>{_text(outcome.message or '')}</td></tr>"
        for status in (Status.FAILED, Status.REJECTED)
        for outcome in journal.outcomes(status.value)
    )
    if not rows:
        return ""
    head = "<tr><th>photo</th><th>status</th><th>code</th><th>what to do</th></tr>"
    return f"<h2>Left out</h2><table>{head}{rows}</table>"


def _text(text: str) -> str:
    return html.escape(shown(text))


def _link(root: str, path: str) -> str:
    """A link that works for names of any bytes."""
    return quote(os.fsencode(os.path.relpath(path, root)))
