"""A wrong value for each option that takes one, for every command that has it."""

from __future__ import annotations

import click

from every_error.case import Case
from humanbody_cli.cli.main import COMMANDS, hbseg

ENOUGH = {
    "segment": "segment photos -o new",
    "watch": "watch photos -o new",
    "check": "check photos",
    "plan": "plan photos -o new",
    "status": "status out",
    "report": "report out",
    "recompose": "recompose out",
    "config": "config",
    "serve": "serve --port 0",
    "doctor": "doctor --offline",
    "completion": "completion bash",
}
"""Each command with no more than it needs."""

WRONG: dict[str, tuple[str, tuple[str, ...]]] = {
    "--from-file": ("gone-list", ("gone-list", "no such file", "check")),
    "--shard": ("3/2", ("'3/2'", "I/N", "2/4")),
    "--base": ("gone --from-file list.txt", ("gone", "no such folder", "check")),
    "--name": ("../x -", ("'../x'", "a.jpg")),
    "--lock-wait": ("soon", ("'soon'",)),
    "--engine": ("lokal", ("'lokal'", "'local'")),
    "--endpoint": ("nowhere", ("'nowhere'", "https://")),
    "--api-key": ("ü", ("ASCII",)),
    "--api-secret": ("xyz", ("HBSEG_API_SECRET", "--credentials")),
    "--credentials": ("gone.env", ("gone.env", "check")),
    "--qps": ("fast", ("'fast'",)),
    "--concurrency": ("0", ("0",)),
    "--retries": ("-1", ("-1",)),
    "--timeout": ("nan", ("finite",)),
    "--max-calls": ("5/week", ("'5/week'", "500/day")),
    "--max-duration": ("soon", ("'soon'", "1h30m")),
    "--price": ("cheap", ("'cheap'", "0.01CNY")),
    "--edges": ("round", ("'round'", "'soft'")),
    "--metadata": ("none", ("'none'", "'strip'")),
    "--model": ("gone.onnx", ("gone.onnx", "check")),
    "--preset": ("isnot --model mean.onnx", ("'isnot'", "isnet")),
    "--mean": ("1,2 --model mean.onnx", ("'1,2'", "0.485")),
    "--std": ("0,0,0 --model mean.onnx", ("0",)),
    "--side": ("7", ("7",)),
    "--crops": ("yes", ("'yes'", "'on'")),
    "--people": ("some", ("'some'", "'main'")),
    "--threads": ("many", ("'many'",)),
    "--grace": ("-1", ("-1",)),
    "--progress": ("fancy", ("'fancy'", "'plain'")),
    "--log-file": ("gone/log", ("gone/log", "check")),
    "--log-format": ("xml", ("'xml'", "'json'")),
    "--config": ("gone.toml", ("gone.toml", "check")),
    "--profile": ("night", ("night", "hbseg config --init")),
    "--margin": ("11", ("11",)),
    "--background": ("gray-ish", ("'gray-ish'", "white")),
    "--size": ("large", ("'large'", "800x600")),
    "--canvas": ("0x5", ("'0x5'", "16384")),
    "--format": ("gif", ("'gif'", "'png'")),
    "--quality": ("101", ("101",)),
    "--settle": ("0", ("0",)),
    "--only": ("gone-list", ("gone-list", "check")),
    "--into": ("out/masks", ("out/masks", "choose")),
    "--host": ("nowhere.invalid", ("'nowhere.invalid'",)),
    "--port": ("65536", ("65536",)),
    "--keys": ("gone-keys", ("gone-keys", "check")),
    "--latency": ("slow", ("'slow'", "0.3")),
    "--inject": ("CHAOS=0.1", ("'CHAOS'",)),
    "--seed": ("x", ("'x'",)),
    "--workers": ("0", ("0",)),
    "--queue": ("-1", ("-1",)),
    "--fetch-timeout": ("0", ("0",)),
    "--cors-origin": ("example.org", ("'example.org'", "https://example.org")),
    "--allow-host": ("http://x", ("'http://x'", "host.docker.internal")),
}
"""Option -> a wrong value, with what must be there for it to count, and words to be said."""

OWN: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    ("segment", "--output"): ("me.png", ("-o me.png", "give a folder")),
    ("watch", "--output"): ("me.png", ("-o me.png", "give a folder")),
    ("plan", "--output"): ("me.png", ("-o me.png", "give a folder")),
    ("doctor", "--output"): ("''", ("-o",)),
    ("report", "--output"): ("page.txt", ("page.txt", ".html")),
    ("serve", "--qps"): ("0", ("--qps", "more than 0")),
}
"""The same where an option is another command's own."""

CODES = {("doctor", name): 4 for name in ("--endpoint", "--api-key", "--credentials", "--model")}
CODES |= {("doctor", f"--{name}"): 4 for name in ("preset", "mean", "std")}
"""``doctor`` reports wrong settings with all other findings."""


def cases() -> list[Case]:
    """One for each option of each command."""
    found = []
    for name in COMMANDS:
        command = hbseg.get_command(click.Context(hbseg), name)
        assert command is not None
        valued = [
            param
            for param in command.params
            if isinstance(param, click.Option) and not (param.is_flag or param.count)
        ]
        found += [_case(name, param.opts[-1]) for param in valued]
    return found


def _case(command: str, option: str) -> Case:
    value, says = OWN.get((command, option)) or WRONG[option]
    name = {"--output": "-o", "--api-key": "API key"}.get(option, option)
    env = {}
    if option == "--api-key":
        env = {"HBSEG_API_SECRET": "x"}
    line = f"{ENOUGH[command]} {option} {value}"
    if option == "--output":
        line = line.replace(" -o new", "")
    return Case(line, CODES.get((command, option), 2), (name, *says), env)
