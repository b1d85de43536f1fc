"""Where the package raises its errors, found in its source, with the words of each message."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from humanbody_cli.core import errors

KINDS = {
    name: 1 if kind is errors.PhotoError else 0
    for name, kind in vars(errors).items()
    if (isinstance(kind, type) and issubclass(kind, errors.UsageError | errors.FatalError))
    or kind is errors.PhotoError
}  # fmt: skip
"""Class -> the position of the message among its arguments."""

_LEAST = 12
"""Characters of its own without which a message is another's, passed on."""


def sites(package: Path) -> Iterator[tuple[str, tuple[re.Pattern[str], ...]]]:
    """Each place, as ``path: beginning of the message``, and patterns of what it may say."""
    for path in sorted(package.rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for texts in _messages(function):
                    yield _label(path.relative_to(package), texts), tuple(map(_pattern, texts))


def _messages(function: ast.AST) -> Iterator[list[list[str]]]:
    named = {
        target.id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place = KINDS.get(node.func.id)
            if place is not None and len(node.args) > place:
                texts = [text for text in _texts(node.args[place], named) if _own(text)]
                if texts:
                    yield texts


def _texts(node: ast.expr, named: dict[str, ast.expr]) -> list[list[str]]:
    """What an expression may be: its literal parts, in order, with anything between them."""
    match node:
        case ast.Constant(value=str(text)):
            return [[text]]
        case ast.JoinedStr(values=parts):
            return _joined([_texts(part, named) for part in parts])
        case ast.FormattedValue(value=value, format_spec=None) if isinstance(value, ast.Name):
            return _texts(value, named)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _joined([_texts(left, named), _texts(right, named)])
        case ast.IfExp(body=body, orelse=orelse):
            return _texts(body, named) + _texts(orelse, named)
        case ast.Name(id=name) if name in named:
            return _texts(named[name], {key: one for key, one in named.items() if key != name})
    return [["", ""]]


def _joined(parts: list[list[list[str]]]) -> list[list[str]]:
    found = []
    for chosen in product(*parts):
        text = [""]
        for first, *rest in chosen:
            text[-1] += first
            text += rest
        found.append(text)
    return found


def _own(text: list[str]) -> bool:
    return len("".join(text)) >= _LEAST


def _pattern(text: list[str]) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text)))


def _label(path: Path, texts: list[list[str]]) -> str:
    return f"{path.as_posix()}: {'{}'.join(texts[0])[:60]}"
