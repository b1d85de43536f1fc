"""Which photos of an output folder are composed: all that are done, or some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from humanbody_cli.core import api_spec
from humanbody_cli.core.outcomes import Outcome, Status
from humanbody_cli.core.paths import absolute
from humanbody_cli.discovery import lists
from humanbody_cli.discovery.inputs import is_path
from humanbody_cli.storage.journal import Journal

ONLY_DOUBTFUL = "doubtful"
"""The word that selects the photos whose masks are doubtful."""


@dataclass(frozen=True)
class Selection:
    """``takes`` says of each done photo, named by its absolute source, whether it is selected;
    ``missing`` are names that no done photo has, and ``what`` says in a word what is selected.
    Photos in which nobody was found, whose pictures are blank, only count with ``includes_empty``.
    """

    takes: Callable[[Outcome], bool] = lambda outcome: True
    missing: tuple[str, ...] = ()
    what: str = "done"
    includes_empty: bool = False

    def photos(self, journal: Journal) -> Iterator[Outcome]:
        """The selected photos that are composed, by output name."""
        return (one for one in self._all(journal) if self.includes_empty or not one.is_nobody)

    def counts(self, journal: Journal) -> tuple[int, int]:
        """How many of the selected photos are composed, and how many are not because nobody was
        found in them."""
        selected = nobody = 0
        for outcome in self._all(journal):
            selected += 1
            nobody += outcome.is_nobody and not self.includes_empty
        return selected - nobody, nobody

    def _all(self, journal: Journal) -> Iterator[Outcome]:
        return filter(self.takes, journal.outcomes(Status.DONE.value, absolute=True))

    def not_found(self) -> Iterator[Outcome]:
        """A record for each name that no done photo has."""
        for name in self.missing:
            yield Outcome(
                name,
                Status.REJECTED,
                code=api_spec.NOT_DONE,
                message="no done photo has this name; compare hbseg status OUT --json",
            )


def selected(journal: Journal, only: str | None, *, includes_empty: bool) -> Selection:
    """The selection that ``--only`` asks for: `ONLY_DOUBTFUL`, or a list with one photo per line.

    A photo is named as ``hbseg status`` prints it, or by a path from the current folder.

    Raises:
        UsageError: the list cannot be read.
    """
    if only is None:
        return Selection(includes_empty=includes_empty)
    if only == ONLY_DOUBTFUL:
        return Selection(
            lambda outcome: outcome.is_doubtful, what=ONLY_DOUBTFUL, includes_empty=includes_empty
        )
    listed = _Listed(only)
    sources = listed.sources_in(journal)
    return Selection(
        lambda outcome: outcome.source in sources, tuple(listed.left), "listed", includes_empty
    )


@dataclass
class _Listed:
    """The names of a list. ``left`` are those that no photo had so far, each with its path."""

    path: str
    left: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with lists.opened(self.path, "--only") as source:
            for entry in lists.NameList(source, self.path, nul=False, option="--only").entries():
                if entry is not None:
                    name = entry.name
                    self.left[name] = absolute(name) if is_path(name) else name

    def sources_in(self, journal: Journal) -> set[str]:
        """The absolute sources of the done photos that the list names."""
        places = set(self.left.values())
        names, found = set(self.left), set()
        done = Status.DONE.value
        both = zip(journal.outcomes(done), journal.outcomes(done, absolute=True), strict=True)
        for as_given, as_path in both:
            if as_given.source in names or as_path.source in places:
                found.add(as_path.source)
                self.left.pop(as_given.source, None)
        self.left = {name: path for name, path in self.left.items() if path not in found}
        return found
