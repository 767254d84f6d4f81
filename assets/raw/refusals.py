"""What a database says when it refuses, in plain words and without what is secret in its URL."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from assets.errors import ConfigurationError, DataError, FreshtuneError, TransientError

if TYPE_CHECKING:
    from sqlalchemy import URL

QUERY = "source.sql.query"
SHOWN = 500
"""So many characters of what a database says are shown."""

_FOR_GOOD = re.compile(
    r"authentication failed|no password supplied|does not exist|no pg_hba\.conf entry|not permitted to log in"
    r"|access denied|unknown database|unable to open|not a database|login failed|unsupported frontend"
    r"|invalid (dsn|connection option|keyword)|unexpected keyword",
    re.IGNORECASE,
)
"""What databases say of a connection that will not succeed later either."""
_NOT_ALLOWED = re.compile(
    r"permission denied|command denied|not authorized|access denied|insufficient privilege", re.IGNORECASE
)
_MAY_PASS = re.compile(
    r"database is locked|database table is locked|lost connection|gone away|timed? ?out", re.IGNORECASE
)
_PASSING_STATES = ("08", "40", "53", "55", "57", "58")
"""Classes of SQLSTATE for connections, rollbacks, resources, locks and operators: all of them may pass."""


def unreadable_url(variable: str) -> ConfigurationError:
    """What an environment variable holds is no URL of a database; what it holds is not said."""
    return ConfigurationError(
        "this environment variable holds no database URL (its value is not shown, as it may hold a password)",
        where=variable,
        fix="write dialect+driver://user:password@host:port/database; in user and password write @ as %40, : as %3A, "
        "/ as %2F and % as %25",
    )


def refused_connection(error: Exception, url: URL, variable: str) -> FreshtuneError:
    """Why no connection came about."""
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    said = plain(error, url)
    if isinstance(error, ImportError | NoSuchModuleError):
        return ConfigurationError(
            f"no driver for {url.drivername}:// is installed ({said})",
            where=variable,
            fix="install it (for PostgreSQL: pip install 'freshtune[postgres]'), or name one that is in the URL: "
            "postgresql+psycopg2://…",
        )
    if _FOR_GOOD.search(said) or isinstance(error, TypeError | ValueError | ArgumentError):
        return ConfigurationError(
            f"the database refuses the connection: {said}",
            where=variable,
            fix="correct host, database, user, password or options in the URL that it holds",
        )
    return TransientError(
        f"the database cannot be reached: {said}",
        where=variable,
        fix="try again; if that does not help, check host and port in the URL, the network and the server",
    )


def refused_query(error: Exception, url: URL, variable: str) -> FreshtuneError:
    """Why a query gave no rows."""
    from sqlalchemy import exc

    said = plain(error, url)
    if not isinstance(error, exc.DBAPIError):
        return DataError(
            f"a value cannot be read: {said}",
            where=QUERY,
            fix="let the query give the column as text (CAST), or leave the row out",
        )
    state = str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or "")
    if error.connection_invalidated or state.startswith(_PASSING_STATES) or _MAY_PASS.search(said):
        return TransientError(
            f"the database broke off: {said}", where=variable, fix="try again; check the network and the server's log"
        )
    if state == "42501" or _NOT_ALLOWED.search(said):
        return ConfigurationError(
            f"the user of the database may not read this: {said}",
            where=variable,
            fix="let its owner GRANT SELECT on the tables of source.sql.query to the user, or name another user",
        )
    if isinstance(error, exc.DataError | exc.IntegrityError):
        return DataError(f"the query fails on the data: {said}", where=QUERY, fix="correct the query, or the row")
    return ConfigurationError(
        f"the database refuses the query: {said}", where=QUERY, fix="correct it; it must run as FROM (query) AS q"
    )


def plain(error: Exception, url: URL) -> str:
    """What was said, in one line, without the password and the options of the URL."""
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    secrets = [str(url.password or ""), *(str(value) for value in url.query.values() if not str(value).isdigit())]
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for written in {secret, quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}:
            said = said.replace(written, "***")
    return said[:SHOWN]
