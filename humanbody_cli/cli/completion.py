"""What the Tab key completes: values of options and arguments, and the scripts for the shells.

The mechanism is click's: the shell's script calls ``hbseg`` with ``_HBSEG_COMPLETE`` set, and click
finds the option or argument under the cursor. The scripts differ from click's where those fail for
names of files: they split names at spaces and commas, leave special characters unquoted, put a
space behind folders, and miss what follows a colon or ``--option=``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import click
from click import shell_completion
from click.shell_completion import CompletionItem

PROGRAM, VARIABLE = "hbseg", "_HBSEG_COMPLETE"

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def words(*values: str) -> Completer:
    """Completes one of these words."""
    return lambda ctx, param, incomplete: [
        CompletionItem(value) for value in values if value.startswith(incomplete)
    ]


def commands(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of commands."""
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    return words(*root.command.list_commands(root))(ctx, param, incomplete)


def presets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of presets."""
    from humanbody_cli.embedded.presets import PRESETS

    return words(*PRESETS)(ctx, param, incomplete)


def photos(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders and photos; with --fit, or if there are no others, of all formats."""
    from humanbody_cli.discovery.tree import API_SUFFIXES, is_picture

    if not ctx.params.get("fit"):
        found = _paths(incomplete, lambda name: _suffix(name) in API_SUFFIXES)
        if any(not item.value.endswith("/") for item in found):
            return found
    return _paths(incomplete, is_picture)


def pictures(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders and pictures of all formats."""
    from humanbody_cli.discovery.tree import is_picture

    return _paths(incomplete, is_picture)


def files(*suffixes: str) -> Completer:
    """Completes folders and files, of these suffixes if any are given."""
    return lambda ctx, param, incomplete: _paths(
        incomplete, lambda name: not suffixes or _suffix(name) in suffixes
    )


def doubtful_or_list(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """``doubtful``, or a file with a list."""
    return [*words("doubtful")(ctx, param, incomplete), *files()(ctx, param, incomplete)]


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders."""
    return _paths(incomplete, lambda name: False)


def outputs_first(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Folders, those with results first."""
    found = folders(ctx, param, incomplete)
    return sorted(found, key=lambda item: not _has_results(item))


def outputs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Folders with results; if there are none, all folders: results may be further down."""
    found = folders(ctx, param, incomplete)
    return [item for item in found if _has_results(item)] or found


def _has_results(item: CompletionItem) -> bool:
    from humanbody_cli.storage.layout import STATE

    return os.path.exists(os.path.join(os.path.expanduser(item.value), STATE))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1][1:].lower()


def _paths(incomplete: str, takes: Callable[[str], bool]) -> list[CompletionItem]:
    """Folders, which end in a slash, and the files that ``takes`` accepts by their names."""
    if "$" in incomplete or "`" in incomplete:  # only the shell knows what it stands for
        return [CompletionItem(incomplete, type="file")]
    above, slash, beginning = incomplete.rpartition("/")
    try:
        with os.scandir(os.path.expanduser(above + slash) or os.curdir) as entries:
            found = sorted(_named(entries, beginning, takes))
    except (OSError, ValueError):
        return []
    return [CompletionItem(above + slash + name, type="path") for name in found]


def _named(
    entries: Iterator[os.DirEntry[str]], beginning: str, takes: Callable[[str], bool]
) -> Iterator[str]:
    for entry in entries:
        name = entry.name
        is_hidden = name.startswith(".") and not beginning.startswith(".")
        if is_hidden or not name.startswith(beginning) or not _fits_a_line(name):
            continue
        if _is_folder(entry):
            yield name + "/"
        elif takes(name):
            yield name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _fits_a_line(name: str) -> bool:
    """The shells take one name per line, as UTF-8."""
    return not any(char < " " or char == "\x7f" or "\ud800" <= char <= "\udfff" for char in name)


_KEPT = "@$"
"""Characters of ``COMP_WORDBREAKS`` that readline counts to the word behind them
(``rl_special_prefixes``)."""


def split(line: str, breaks: str = "") -> tuple[list[str], int]:
    """The words of a command line, the last of which is being typed, and how many characters of
    that one stand before the part that the shell replaces.

    Bash replaces what follows an opening quote or one of ``breaks`` (its ``COMP_WORDBREAKS``).
    """
    found: list[str] = []
    word: str | None = None
    quote, cut, quoted_from = "", 0, 0
    chars = iter(line)
    for char in chars:
        if quote:
            if char == quote:
                quote = ""
                continue
            following = next(chars, "") if char == "\\" and quote == '"' else ""
            is_escape = bool(following) and following in '"\\$`'
            word = (word or "") + (following if is_escape else char + following)
        elif char.isspace():
            found += [word] if word is not None else []
            word, cut = None, 0
        elif char in "'\"":
            word = word or ""
            quote, quoted_from = char, len(word)
        else:
            word = (word or "") + (next(chars, "") if char == "\\" else char)
            if char in breaks:
                cut = len(word) - (char in _KEPT)
    return [*found, word or ""], quoted_from if quote and breaks else cut


class _Completes(shell_completion.ShellComplete):
    """Completion by the line up to the cursor, in ``COMP_WORDS``."""

    _cut = 0

    def get_completion_args(self) -> tuple[list[str], str]:
        """The complete words behind the command's name, and the one that is being typed."""
        breaks = os.environ.get("COMP_WORDBREAKS", "") if self.name == "bash" else ""
        (*complete, incomplete), self._cut = split(os.environ.get("COMP_WORDS", ""), breaks)
        return complete[1:], incomplete

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """What the word may become; click leaves out a leading ``--option=``."""
        name, equals, _ = incomplete.partition("=")
        is_option = bool(equals) and name.startswith("--") and "--" not in args
        items = super().get_completions(args, incomplete)
        for item in items:
            item.value = ((name + equals if is_option else "") + item.value)[self._cut :]
        return items


class Bash(_Completes, shell_completion.BashComplete):
    """Completion for bash from 4.4 on."""

    def format_completion(self, item: CompletionItem) -> str:
        """``type,value``; bash itself puts the slash behind a folder that it finds by its value."""
        is_found = item.type == "path" and os.path.isdir(os.path.expanduser(item.value))
        return f"{item.type},{item.value.removesuffix('/') if is_found else item.value}"

    source_template = """\
%(complete_func)s() {
    local IFS=$'\\n' response completion value

    response=$(env COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
%(complete_var)s=bash_complete $1)

    COMPREPLY=()
    while IFS= read -r completion; do
        value=${completion#*,}
        case ${completion%%%%,*} in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
            path)
                compopt -o filenames
                [[ $value == */ ]] && compopt -o nospace
                COMPREPLY+=("$value") ;;
        esac
    done <<< "$response"

    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Zsh(_Completes, shell_completion.ZshComplete):
    """Completion for zsh."""

    source_template = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a completions completions_with_descriptions folders files shown response
    local type key descr tilde=
    (( ! $+commands[%(prog_name)s] )) && return 1

    response=("${(@f)$(env COMP_WORDS="${(j: :)words[1,CURRENT-1]} $QIPREFIX$PREFIX" \
%(complete_var)s=zsh_complete %(prog_name)s)}")

    for type key descr in ${response}; do
        if [[ "$type" == "plain" ]]; then
            if [[ "$descr" == "_" ]]; then
                completions+=("$key")
            else
                completions_with_descriptions+=("$key":"$descr")
            fi
        elif [[ "$type" == "path" ]]; then
            # A tilde must not be quoted.
            [[ "$key" == \\~*/* ]] && tilde="${key%%%%/*}/" && key="${key#*/}"
            if [[ "$key" == */ ]]; then folders+=("$key"); else files+=("$key"); fi
        elif [[ "$type" == "dir" ]]; then
            compset -P '--*='
            _path_files -/
        elif [[ "$type" == "file" ]]; then
            compset -P '--*='
            _path_files -f
        fi
    done

    if [ -n "$completions_with_descriptions" ]; then
        _describe -V unsorted completions_with_descriptions -U
    fi

    if [ -n "$completions" ]; then
        compadd -U -V unsorted -a completions
    fi

    if [ -n "$folders" ]; then
        shown=("${(@)${(@)folders%%/}##*/}")
        compadd -U -V unsorted -d shown -S / -q -P "$tilde" -- "${(@)folders%%/}"
    fi

    if [ -n "$files" ]; then
        shown=("${(@)files##*/}")
        compadd -U -V unsorted -d shown -P "$tilde" -a files
    fi
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    # autoload from fpath, call function directly
    %(complete_func)s "$@"
else
    # eval/source/. command, register function for later
    compdef %(complete_func)s %(prog_name)s
fi
"""


class Fish(_Completes, shell_completion.FishComplete):
    """Completion for fish."""

    source_template = """\
function %(complete_func)s
    set -l response (env %(complete_var)s=fish_complete \
COMP_WORDS=(commandline -cp | string collect) %(prog_name)s)

    for completion in $response
        set -l metadata (string split --max 1 "," -- $completion)

        if test $metadata[1] = dir
            __fish_complete_directories
        else if test $metadata[1] = file
            __fish_complete_path
        else
            echo $metadata[2]
        end
    end
end

complete --no-files --keep-order --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


SHELLS: dict[str, type[Any]] = {"bash": Bash, "zsh": Zsh, "fish": Fish}


def register() -> None:
    """Have click use these scripts' answers in place of its own."""
    for shell in SHELLS.values():
        shell_completion.add_completion_class(shell)


def script(shell: str, command: click.Command) -> str:
    """The script that makes a shell complete ``hbseg``."""
    text: str = SHELLS[shell](command, {}, PROGRAM, VARIABLE).source()
    return text
