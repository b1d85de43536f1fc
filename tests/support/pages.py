"""The pages of the documentation: their blocks, headings and links."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"


@dataclass(frozen=True)
class Block:
    """A fenced block: the number of its first line, the words behind its fence, its text."""

    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        """The first word behind the fence; empty for none."""
        return self.info.split(maxsplit=1)[0] if self.info else ""

    @property
    def not_run(self) -> str | None:
        """The reason why it is not run, if it names one: `` ```sh not-run: needs root``."""
        _, mark, reason = self.info.partition("not-run:")
        return reason.strip() if mark else None

    @property
    def commands(self) -> list[str]:
        """The commands of a transcript, each behind ``$``; none for a block of commands alone."""
        found = re.findall(r"^\$ (.*(?:\n> .*)*)$", self.text, re.MULTILINE)
        return [command.replace("\n> ", "\n") for command in found]


@dataclass
class Page:
    """A Markdown page; ``prose`` are its lines outside blocks, without inline code."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    prose: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return self.path.relative_to(ROOT).as_posix()

    @classmethod
    def read(cls, path: Path) -> Page:
        """The page in a file."""
        page = cls(path)
        fence, held, begun = "", [""], 0
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            opened = re.match(r" *(`{3,}|~{3,})(.*)", line)
            if fence and line.strip() == fence:
                page.blocks.append(Block(begun, held[0], "".join(f"{x}\n" for x in held[1:])))
                fence = ""
            elif fence:
                held.append(line)
            elif opened:
                fence, held, begun = opened[1], [opened[2].strip()], number
            else:
                page.prose.append(line)
        assert not fence, f"{page.name}:{begun}: this block has no end"
        return page

    def anchors(self) -> set[str]:
        """What ``#...`` can name: headings as a code host and MyST spell them, and labels."""
        seen: Counter[str] = Counter()
        found = set(re.findall(r'<a (?:id|name)="([^"]+)"', "\n".join(self.prose)))
        for line in self.prose:
            heading = re.match(r"#{1,6} +(.*?)(?: +#+)?$", line)
            if heading:
                words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
                slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
                found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
                seen[slug] += 1
        return found

    def links(self) -> Iterator[str]:
        """Every target of a link or picture."""
        text = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "code", "\n".join(self.prose))
        yield from re.findall(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)", text)
        yield from re.findall(r"^ *\[[^\]]+\]: *(\S+)", text, re.MULTILINE)
        yield from re.findall(r'(?:src|href|srcset)="([^"]+)"', text)
        yield from re.findall(r"<(https?:[^>\s]+)>", text)


def pages() -> list[Page]:
    """Every page of the repository's top folder and of ``docs``."""
    return [Page.read(path) for path in sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])]
