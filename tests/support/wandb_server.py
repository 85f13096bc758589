"""A stand-in for W&B's server on the loopback: the real client talks to it over HTTP, and tests read back what it got.

    with WandbServer() as server:
        # WANDB_BASE_URL=server.url, WANDB_API_KEY=server.key
        server.runs["0123..."].history

What it speaks of the protocol, as wandb 0.31 uses it:

- ``POST /graphql``: the operations in `wandb_graphql.ANSWERS`. Another one is answered with an error and kept in
  ``server.unknown``, which stays empty where a client found all that it asked for.
- ``POST /files/ENTITY/PROJECT/RUN/file_stream``: lines of history, events and console log at their offsets, the
  summary, and the exit code. A line that is sent again lands on its own place, as with the real server.
- ``PUT /storage/KEY`` and ``GET /storage/KEY``: files of runs and artifacts, at addresses that GraphQL gave out.

Not spoken: multipart uploads, registries, queues, users and teams beyond the one behind the key. Nothing is
kept on disk, and any key of 40 letters is let in.
"""

import gzip
import json
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import unquote, urlparse

from wandb_graphql import ANSWERS, operation
from wandb_kept import Kept, Run

#: ``answer`` as a server does; ``hang`` takes requests and never answers; ``refuse`` answers each with error 500.
Mood = Literal["answer", "hang", "refuse"]


class WandbServer(Kept):
    """Serves from the first line of its ``with`` block to the last; see the top of this file."""

    key = "a" * 40

    def __init__(self) -> None:
        super().__init__()
        self.mood: Mood = "answer"
        self.unknown: list[str] = []
        self.asked: list[str] = []
        self.lock = threading.RLock()
        self._closed = threading.Event()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.kept = self
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> "WandbServer":
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.die()

    def die(self) -> None:
        """Stop answering, and free the port: whoever connects is refused."""
        self._closed.set()
        self._http.shutdown()
        self._http.server_close()

    def wait_for(self, run: str, rows: int, seconds: float = 60.0) -> Run:
        """The run, once that many rows of its history are here."""
        until = time.monotonic() + seconds
        while run not in self.runs or len(self.runs[run].history) < rows:
            assert time.monotonic() < until, f"run {run} has not sent {rows} rows in {seconds} seconds"
            time.sleep(0.02)
        return self.runs[run]

    def graphql(self, text: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The answer to one operation."""
        name = operation(text)
        with self.lock:
            self.asked.append(name)
            if name not in ANSWERS:
                self.unknown.append(f"{name} {json.dumps(variables)}")
                return {"errors": [{"message": f"{name}: the stand-in does not know this"}]}
            return {"data": ANSWERS[name](self, variables)}

    def stream(self, run: str, body: dict[str, Any]) -> None:
        """One message of a run's file stream."""
        with self.lock:
            self.runs[run].take(body)

    @contextmanager
    def moody(self) -> Iterator[Mood]:
        """How to treat a request; one that hangs ends with the server."""
        if self.mood == "hang":
            self._closed.wait()
        yield self.mood


class _Http(ThreadingHTTPServer):
    kept: WandbServer
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_POST(self) -> None:
        body, path = self._body(), urlparse(self.path).path
        with self.server.kept.moody() as mood:
            if mood != "answer":
                self._say(500, b"{}")
                return
            asked = json.loads(body or b"{}")
            if path == "/graphql":
                found = self.server.kept.graphql(asked["query"], asked.get("variables") or {})
                self._say(200, json.dumps(found).encode())
                return
            parts = [unquote(part) for part in path.strip("/").split("/")]
            if len(parts) == 5 and parts[0] == "files" and parts[-1] == "file_stream":
                self.server.kept.stream(parts[3], asked)
                self._say(200, b'{"exitcode": null, "limits": {}}')
                return
            if path != "/sdk/otel/v1/metrics":  # the client's own speed and health, which it can do without
                self.server.kept.unknown.append(f"POST {path}")
            self._say(404, b"{}")

    def do_PUT(self) -> None:
        body = self._body()
        with self.server.kept.moody() as mood:
            if mood == "answer":
                self.server.kept.store(self.path.removeprefix("/storage/"), body)
            self._say(200 if mood == "answer" else 500, b"")

    def do_GET(self) -> None:
        with self.server.kept.moody() as mood:
            found = self.server.kept.storage.get(self.path.removeprefix("/storage/"))
            self._say(200 if found is not None and mood == "answer" else 404, found or b"")

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.headers.get("Content-Encoding", ""):
            case "gzip":
                return gzip.decompress(body)
            case "deflate":
                return zlib.decompress(body)
        return body

    def _say(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: pytest shows what a test wants shown."""
