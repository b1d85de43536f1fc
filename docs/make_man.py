"""Write the man pages, docs/man/*.1, from the commands: `make man`.

click-man lays a page out. Here its text is made safe for troff, and the commands, which hbseg
imports one by one, are listed.
"""

from __future__ import annotations

import re
import sys
from inspect import cleandoc
from pathlib import Path

import click
from click_man.man import ManPage

from humanbody_cli import __version__
from humanbody_cli.cli.configuration.command import SECTIONS
from humanbody_cli.cli.configuration.option import untied
from humanbody_cli.cli.main import COMMANDS, hbseg

FOLDER = Path(__file__).parent / "man"


_ESCAPES = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "~": r"\(ti", "^": r"\(ha"}
)
"""Characters that troff prints as others, or not at all, and what it prints as they are."""


def pages() -> dict[str, str]:
    """Every man page by its file's name."""
    context = click.Context(hbseg, info_name="hbseg", **hbseg.context_settings)
    made = {"hbseg.1": _page(context, "Cut people out of photographs, in batches", COMMANDS)}
    for name, words in COMMANDS.items():
        command = hbseg.get_command(context, name)
        assert command is not None
        child = click.Context(command, info_name=name, parent=context)
        made[f"hbseg-{name}.1"] = _page(child, words.rstrip("."), {})
    return made


def _page(context: click.Context, words: str, commands: dict[str, str]) -> str:
    """A page of a command, ``words`` being what it does, with a list of its own commands."""
    page = ManPage(context.command_path)
    page.short_help = _troff(words)
    page.synopsis = " ".join(context.command.collect_usage_pieces(context))
    page.description = _paragraphs(context.command.help or "")
    records = [
        (getattr(param, "section", SECTIONS[-1]), record)
        for param in context.command.get_params(context)
        if isinstance(param, click.Option) and (record := param.get_help_record(context))
    ]
    records.sort(key=lambda one: SECTIONS.index(one[0]))
    page.options = [
        (untied(names).replace("\\", r"\e"), _troff(text)) for _, (names, text) in records
    ]
    page.commands = [(name, _troff(text)) for name, text in commands.items()]
    _, _, body = _in_sections(str(page), [section for section, _ in records]).partition("\n")
    # A title in one word; and no date: that of the day would change every page every day.
    title = context.command_path.replace(" ", "-").upper()
    head = f'.TH "{title}" "1" "" "hbseg {__version__}" "hbseg manual"'
    related = [f"hbseg-{name}" for name in commands] or ["hbseg"]
    see = ", ".join(rf"\fB\%{name}\fP(1)".replace("-", r"\-") for name in related)
    return f"{head}\n{body}.SH SEE ALSO\n{see}\n"


def _in_sections(page: str, sections: list[str]) -> str:
    """A page with a heading before the first option of each section, if there are several."""
    head, *options = page.split(".TP\n")
    before = ["", *sections]
    for number, section in enumerate(sections):
        is_first = section != before[number] and len(set(sections)) > 1
        head += (f".SS {section}\n" if is_first else "") + ".TP\n" + options[number]
    return head


def _troff(text: str) -> str:
    """Text that troff prints as it is: hyphens and quotes can be copied into a shell."""
    return re.sub(r"(?m)^\.", r"\\&.", untied(text).translate(_ESCAPES))


def _paragraphs(text: str) -> str:
    """A command's help; a paragraph that begins with a backspace keeps its lines, as in click."""
    made = []
    for paragraph in cleandoc(text).split("\n\n"):
        lines = _troff(paragraph.removeprefix("\b\n"))
        made.append(f".nf\n{lines}\n.fi" if paragraph.startswith("\b\n") else lines)
    return "\n\n".join(made)


def main() -> None:
    """Write the pages, and remove those of commands that are no more."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    made = pages()
    for path in folder.glob("*.1"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (folder / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
