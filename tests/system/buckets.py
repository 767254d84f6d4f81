"""A server that speaks S3, in this process, and a network between it and its clients that can fail."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import fsspec
import pytest
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


class _Silent(MotoRequestHandler):
    """Handles requests without a line in the log for each."""

    def log_request(self, *_: object) -> None:
        pass


class Server:
    """A server that speaks S3.

    Attributes:
        network: `whole`; `lossy`: the first answer to each write is lost; `down`: nothing is done and no answer comes.
        lost: what was not answered, as METHOD /path.
    """

    def __init__(self) -> None:
        self._application = create_backend_app("s3")
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Silent)
        self._known: set[str] = set()
        self.network: Literal["whole", "lossy", "down"] = "whole"
        self.lost: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        # The client gives each request a name, and its repetitions the same.
        name, method = environ.get("HTTP_AMZ_SDK_INVOCATION_ID", ""), environ["REQUEST_METHOD"]
        first = name not in self._known
        self._known.add(name)
        answer = [] if self.network == "down" else self._application(environ, start_response)
        if self.network == "down" or (self.network == "lossy" and first and method not in {"GET", "HEAD"}):
            self.lost.append(f"{method} {environ['PATH_INFO']}")
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        return answer

    @property
    def client(self) -> dict[str, str]:
        """What a client has to be told."""
        host, port = self._server.server_address[:2]
        return {"endpoint_url": f"http://{host!s}:{port}", "key": "key", "secret": "secret"}

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables under which `s3://` means this server."""
        return {f"FSSPEC_S3_{name.upper()}": value for name, value in self.client.items()}

    @contextmanager
    def serving(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@contextmanager
def served() -> Iterator[Server]:
    """Serve for a while; until then `s3://` means this server, in this process and in those that it starts."""
    server = Server()
    with server.serving(), pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name, value in server.environment.items():
            patched.setenv(name, value)
        patched.setitem(fsspec.config.conf, "s3", server.client)
        yield server
