"""Write ``docs/reference``: a page for each command, and one of all codes, from the program itself.

``make reference`` runs it; a test fails where the pages differ from what it would write.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from humanbody_cli.cli.configuration.command import SECTIONS
from humanbody_cli.cli.configuration.option import Option
from humanbody_cli.cli.main import COMMANDS, hbseg
from humanbody_cli.core import api_spec
from humanbody_cli.core.api_spec import Treatment

HERE = Path(__file__).resolve().parent / "reference"

WIDTH = 10_000
"""Columns: a browser breaks lines itself."""

TREATMENTS = {
    Treatment.RETRY: "tried again, up to `--retries` times",
    Treatment.ONCE_MORE: "tried once more",
    Treatment.PHOTO: "this photo fails; the run goes on",
    Treatment.STOP: "the run stops with exit code 4",
}

OWN_CODES = {
    api_spec.BAD_ANSWER: "The answer is not what the API's document promises. It was probably "
    "charged.",
    api_spec.CONNECTION: "There was no answer: the connection was refused or reset, or timed out.",
    api_spec.GATEWAY: "The answer names no error of the API; mostly it is a proxy's page.",
    api_spec.NOBODY_FOUND: "No pixel of the mask has a confidence above 0.5. The photo is done, "
    "or rejected with `--require-person`.",
    api_spec.UNREADABLE: "The photo's file cannot be read.",
    api_spec.NOT_COMPOSED: "The results could not be composed. This is a bug.",
    api_spec.OUTPUT_NAME_TAKEN: "A file that is not hbseg's, or that was edited, has the name of "
    "a result.",
    api_spec.MASK_GONE: "`recompose`: the mask is missing or damaged.",
    api_spec.NOT_DONE: "`recompose`: the list names a photo that is not done.",
    api_spec.SOURCE_CHANGED: "`recompose`: the photo is not the one the mask was made from.",
    api_spec.TOO_LARGE_FOR_FORMAT: "`recompose`: the picture has more pixels than its format can "
    "hold.",
}
"""hbseg's own codes."""


_TYPED = re.compile(r"(?<![\w`-])(--[a-z][a-z-]*|HBSEG_[A-Z_]+|https?://[\w.-]+)")
"""What is typed as it is: options, variables, addresses."""


def _cell(text: str) -> str:
    """A text as the cell of a table."""
    return _TYPED.sub(r"`\1`", " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;"))


def _code(text: str) -> str:
    """A text as it is typed, in the cell of a table."""
    return f"`{text}`".replace("|", "\\|") if text else ""


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield _row(*head)
    yield _row(*("---" for _ in head))
    for row in rows:
        yield _row(*row)
    yield ""


def _page(lines: Iterable[str]) -> str:
    return "\n".join(lines).rstrip() + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    """A help text as Markdown: click's ``\\b`` keeps the lines of the paragraph below it."""
    for paragraph in inspect.cleandoc(text).replace("\f", "").split("\n\n"):
        if paragraph.startswith("\b"):
            lines = paragraph.removeprefix("\b").strip("\n").splitlines()
            yield from ("```text", *(line.removeprefix("  ") for line in lines), "```", "")
        else:
            yield _TYPED.sub(r"`\1`", " ".join(paragraph.split()))
            yield ""


def _default(option: Option, context: click.Context) -> tuple[str, str]:
    """An option's help, and its default."""
    help_text = option.help or ""
    value = option.get_default(context)
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    if option.otherwise and option.otherwise != shown:
        return help_text, _cell(option.otherwise)
    if option.is_flag or option.count or not isinstance(value, str | int | float):
        return help_text, ""
    return help_text, _code(shown)


def _option(option: Option, context: click.Context) -> tuple[str, str]:
    """An option as a row: its names and value; what it does, its default, its variable."""
    takes_value = not (option.is_flag or option.count)
    value = f" {option.make_metavar(context)}" if takes_value else ""
    *short, last = (*option.opts, *option.secondary_opts)
    names = ", ".join([*map(_code, short), _code(last + value)])
    help_text, default = _default(option, context)
    told = [f"Default: {default}."] if default else []
    if isinstance(option.envvar, str):
        told.append(f"Variable: {_code(option.envvar)}.")
    return names, "<br>".join(filter(None, (_cell(help_text), " ".join(told))))


def _sections(command: click.Command) -> dict[str, list[Option]]:
    """The options of a command under the headings of its ``--help``."""
    options = [one for one in command.params if isinstance(one, Option) and not one.hidden]
    listed = {name: [one for one in options if one.section == name] for name in SECTIONS}
    assert sum(map(len, listed.values())) == len(options)
    return {name: own for name, own in listed.items() if own}


def command_page(name: str) -> str:
    """The page of a command."""
    command = hbseg.get_command(click.Context(hbseg), name)
    assert command is not None
    parent = click.Context(hbseg, info_name="hbseg")
    context = click.Context(command, info_name=name, parent=parent, max_content_width=WIDTH)
    lines = [f"# hbseg {name}", "", "```text"]
    lines += [f"hbseg {name} {' '.join(command.collect_usage_pieces(context))}", "```", ""]
    lines += _paragraphs(command.help or "")
    head = ("option", "effect")
    for title, options in _sections(command).items():
        lines += [f"## {title}", ""]
        lines += _table(head, (_option(one, context) for one in options))
    return _page(lines)


def first_page() -> str:
    """The page of ``hbseg`` itself."""
    lines = ["# hbseg", "", "```text", "hbseg COMMAND [OPTIONS] [ARGS]...", "```", ""]
    lines += _paragraphs(hbseg.help or "")
    lines += ["## Commands", ""]
    rows = ((f"[hbseg {name}]({name}.md)", _cell(text)) for name, text in COMMANDS.items())
    lines += _table(("command", "purpose"), rows)
    lines += ["`hbseg --version` prints the version; `-h` or `--help` explains each command.", ""]
    return _page(lines)


def codes_page() -> str:
    """The page of all codes of records."""
    lines = ["# Codes", ""]
    lines += ["A photo's [record](../records.md) has a `code` if it was rejected or failed.", ""]
    lines += ["## hbseg's own codes", ""]
    lines += _table(("code", "meaning"), ((_code(code), text) for code, text in OWN_CODES.items()))
    lines += ["## Codes of the API", ""]
    lines += ["The local server answers with the same ones.", ""]
    head = ("code", "HTTP status", "what hbseg does", "what you can do")
    rows = (
        (_code(row.code), str(row.http_status), TREATMENTS[row.treatment], _cell(row.advice))
        for row in api_spec.ROWS
    )
    lines += _table(head, rows)
    lines += [f"The reason behind `{api_spec.AUTHORIZATION}` says more:", ""]
    reasons = api_spec.AUTHORIZATION_REASONS.items()
    lines += _table(("reason", "what it means"), ((_cell(a), _cell(b)) for a, b in reasons))
    return _page(lines)


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    commands = {f"{name}.md": command_page(name) for name in COMMANDS}
    return {"hbseg.md": first_page(), **commands, "codes.md": codes_page()}


def main() -> None:
    """Write the pages, and remove those of commands that are gone."""
    HERE.mkdir(exist_ok=True)
    written = pages()
    for path in HERE.glob("*.md"):
        if path.name not in written:
            path.unlink()
    for name, text in written.items():
        (HERE / name).write_text(text, "utf-8")


if __name__ == "__main__":
    main()
