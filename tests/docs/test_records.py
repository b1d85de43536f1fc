"""``docs/records.schema.json`` is the schema of what hbseg prints, in real runs of each kind."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import KEY, SECRET, Ended, Hbseg, photo
from fake_answers import Style
from fake_api import FakeApi
from fake_behaviour import Behaviour
from pages import DOCS, Page
from server_fixture import picture, running

from humanbody_cli.core import errors
from humanbody_cli.core.outcomes import Outcome, Status

jsonschema = pytest.importorskip("jsonschema", reason="the extra dev is not installed")

SCHEMA = json.loads((DOCS / "records.schema.json").read_text())


def check(kind: str, value: Any) -> None:
    """Raise where a value is not of this kind of the schema."""
    schema = {"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]}
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(schema, format_checker=checker).validate(value)


def checked(kind: str, ended: Ended) -> list[dict[str, Any]]:
    """The objects on stdout, each of this kind."""
    assert ended.out and "Traceback" not in ended.err, ended.err
    for record in ended.records:
        check(kind, record)
        jsonschema.Draft202012Validator(SCHEMA).validate(record)
    return ended.records


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Photos that are accepted, and others that are not."""
    folder = tmp_path / "photos"
    photo(folder / "a.jpg", seed=1)
    photo(folder / "b é.jpg", seed=2)
    photo(folder / "small.jpg", seed=3, size=(20, 20))
    (folder / "damaged.jpg").write_bytes(b"no picture")
    return folder


def test_the_schema_is_sound() -> None:
    """It is a JSON Schema itself."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_done_rejected_and_settled(paid: Hbseg, api: FakeApi, mixed: Path, tmp_path: Path) -> None:
    """A run, its log, the same run again, and what status, check and recompose print of it."""
    log = ("--log-file", "log", "--log-format", "json")
    arguments = ("segment", mixed, "-o", "out", "--endpoint", api.url, "--json", *log)
    first = checked("photo", paid(*arguments))
    assert {record["status"] for record in first} == {"done", "rejected"}
    again = checked("photo", paid(*arguments))
    assert all(record["skipped"] for record in again)
    checked("photo", paid("status", "out", "--failed", "--json"))
    checked("photo", paid("check", mixed, "--json"))
    checked("photo", paid("recompose", "out", "--crop", "--json"))
    for more in ((), ("--price", "0.01CNY")):
        check("status", json.loads(paid("status", "out", "--json", *more).out))
    for line in (tmp_path / "log").read_text().splitlines():
        check("log", json.loads(line))


def test_failed_and_stopped(paid: Hbseg, mixed: Path, tmp_path: Path) -> None:
    """A server that fails for good, and a key that is refused."""
    for kind in ("BAD_ARGUMENTS", "IMAGE_ERROR_UNSUPPORTED_FORMAT", "AUTHENTICATION_ERROR"):
        with FakeApi.in_thread(Behaviour(always=kind)) as api:
            where = ("-o", f"out-{kind}", "--endpoint", api.url, "--log-file", "log")
            ended = paid("segment", mixed, *where, "--log-format", "json", "--json")
            assert ended.code in (3, 4)
            checked("photo", ended)
            status = json.loads(paid("status", f"out-{kind}", "--json").out)
            check("status", status)
            assert status["last_run"]["exit_code"] == ended.code
    for line in (tmp_path / "log").read_text().splitlines():
        check("log", json.loads(line))


def test_nobody_found(paid: Hbseg, mixed: Path) -> None:
    """Done with a code, or rejected on request."""
    with FakeApi.in_thread(Behaviour(style=Style(nobody=((96, 80),)))) as api:
        for more in ((), ("--require-person",)):
            ended = paid("segment", mixed, "-o", "out", "--endpoint", api.url, "--json", *more)
            records = checked("photo", ended)
            assert "NOBODY_FOUND" in {record["code"] for record in records}


def test_reused(paid: Hbseg, api: FakeApi, mixed: Path, tmp_path: Path) -> None:
    """A copy of a photo, and results that a lost journal left."""
    (mixed / "copy.jpg").write_bytes((mixed / "a.jpg").read_bytes())
    arguments = ("segment", mixed, "-o", "out", "--endpoint", api.url, "--json")
    checked("photo", paid(*arguments))
    for path in (tmp_path / "out" / ".hbseg").glob("journal*"):
        path.unlink()
    records = checked("photo", paid(*arguments))
    assert len(api.stats.calls) == 2
    assert [record["attempts"] for record in records if record["status"] == "done"] == [0, 0, 0]


def test_planned(paid: Hbseg, api: FakeApi, mixed: Path) -> None:
    """With and without a price, before a run and after."""
    arguments = (mixed, "-o", "out", "--endpoint", api.url)
    checked("plan", paid("plan", *arguments, "--json", "--price", "0.01CNY"))
    paid("segment", *arguments)
    checked("plan", paid("plan", *arguments, "--json"))


def test_the_local_engine(hbseg: Hbseg, tmp_path: Path) -> None:
    """Its records name it."""
    photo(tmp_path / "photos" / "a.jpg")
    (record,) = checked("photo", hbseg("segment", "photos", "-o", "out", "--json"))
    assert record["engine"] == "local"
    checked("plan", hbseg("plan", "photos", "-o", "other", "--json"))
    check("status", json.loads(hbseg("status", "out", "--json").out))


def test_the_machine(paid: Hbseg, api: FakeApi) -> None:
    """With a key and without, and with options that are wrong."""
    for more in ((), ("--offline",), ("-o", "out"), ("--model", "none.onnx")):
        ended = paid("doctor", "--json", "--endpoint", api.url, *more)
        assert ended.code in (0, 4), ended.err
        checked("doctor", ended)


def test_the_settings(paid: Hbseg, tmp_path: Path) -> None:
    """Without a file, with one, and with a profile."""
    check("config", json.loads(paid("config", "--json").out))
    (tmp_path / "mine.toml").write_text("qps = 10\n[profile.night]\nfit = true\n")
    for more in ((), ("--profile", "night"), ("segment",)):
        check("config", json.loads(paid("config", "--json", "--config", "mine.toml", *more).out))


def test_the_log_of_the_server() -> None:
    """Calls, pages and what is refused."""
    with running("--port", "0", "--log-format", "json") as server:
        httpx.get(f"{server.endpoint}/healthz")
        httpx.get(f"{server.endpoint}/none?secret=1")
        httpx.post(server.url, data={"api_key": "wrong", "api_secret": "wrong"})
        server.post(image_file=picture())
        server.stop()
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    for line in lines:
        check("server_log", line)
    assert {line["event"] for line in lines} >= {"request"}


def test_an_unknown_field_is_refused(paid: Hbseg, api: FakeApi, mixed: Path) -> None:
    """A field that is added to the program and not to the schema fails these tests."""
    ended = paid("segment", mixed, "-o", "out", "--endpoint", api.url, "--json")
    record = {**ended.records[0], "new": 1}
    status = {**json.loads(paid("status", "out", "--json").out), "new": 1}
    for kind, value in (("photo", record), ("status", status), ("log", {"time": "", "new": 1})):
        with pytest.raises(jsonschema.ValidationError):
            check(kind, value)


def test_the_schema_has_the_fields_of_an_outcome_and_no_others() -> None:
    """In their order, with every status."""
    properties = SCHEMA["$defs"]["photo"]["properties"]
    names = [field.name for field in fields(Outcome)]
    public = [name for name in names if name not in ("repeated", "reason")]
    assert list(properties) == [*public, "skipped"]
    assert properties["status"]["enum"] == [status.value for status in Status]


def test_every_reason_of_an_end_is_in_the_schema() -> None:
    """Those of the errors that end a run, and those that are no errors."""
    endings = {errors.HbsegError.ending}
    todo: list[type[errors.HbsegError]] = [errors.HbsegError]
    while todo:
        one = todo.pop()
        endings.add(one.ending)
        todo += one.__subclasses__()
    listed = SCHEMA["$defs"]["run"]["properties"]["reason"]["enum"]
    assert {*endings, "finished", "killed", "bug", None} == set(listed)


def fields_in(schema: Any) -> set[str]:
    """The names of all fields anywhere in a schema."""
    if isinstance(schema, list):
        return set().union(*map(fields_in, schema))
    if not isinstance(schema, dict):
        return set()
    own = set(schema["properties"]) if isinstance(schema.get("properties"), dict) else set()
    return own.union(*map(fields_in, schema.values()))


def test_the_page_names_every_field() -> None:
    """Each field of the schema is on docs/records.md, and each field of its tables is known."""
    text = (DOCS / "records.md").read_text()
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"\w+", row)}
    known = fields_in(SCHEMA["$defs"])
    assert named <= known
    assert known <= set(re.findall(r"`(\w+)`", text))


def test_the_example_of_the_page_is_a_record() -> None:
    """The JSON block validates."""
    blocks = Page.read(DOCS / "records.md").blocks
    (example,) = [block for block in blocks if block.language == "json"]
    check("photo", json.loads(example.text))


def test_no_secret_is_in_a_record(paid: Hbseg, api: FakeApi, mixed: Path) -> None:
    """Neither key nor secret."""
    told = paid("segment", mixed, "-o", "out", "--endpoint", api.url, "--json").out
    told += paid("status", "out", "--json").out
    assert KEY not in told and SECRET not in told
