"""The list of an artifact's files with sizes and SHA-256, and the check that they still are what was written."""

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trigan.atomic import wrap_os_errors, write_json
from trigan.errors import ArtifactError

MANIFEST_NAME = "manifest.json"
CHECKPOINTS = "checkpoints"
_SCHEMA = 1


class DamagedError(ArtifactError):
    """A file of an artifact is gone, cut off or changed: the artifact can only be made anew."""


@dataclass(frozen=True)
class Manifest:
    """What lies in an artifact's directory, and what it is.

    Attributes:
        digest: the stage's hash, which is also the directory's name.
        kind: what it is, in one word for people (``gan``, ``classifier``, ``samples``).
        created: seconds since 1970 when it was finished.
        description: the stage's own settings as plain data, which the digest was taken of.
        content: what the stage wants to keep beside its files: counted cost, hashes of weights, status.
        files: relative path -> [bytes, SHA-256].
    """

    digest: str
    kind: str
    created: float
    description: dict[str, Any]
    content: dict[str, Any]
    files: dict[str, tuple[int, str]]

    def write(self, directory: Path) -> None:
        """Writes ``manifest.json`` atomically, sealed with a checksum of its own."""
        body = json.loads(json.dumps({"schema": _SCHEMA, **asdict(self)}))  # seal what a reader will get: text keys
        write_json(directory / MANIFEST_NAME, {**body, "checksum": _seal(body)})

    @staticmethod
    def read(directory: Path) -> "Manifest":
        """Reads and verifies ``manifest.json`` alone.

        Raises:
            DamagedError: if it is missing, cut off, edited, or of another schema.
            ArtifactError: if it is there and can't be read (permissions), which says nothing about its soundness.
        """
        path = directory / MANIFEST_NAME
        if not path.is_file():
            raise DamagedError(f"{path} is missing")
        with wrap_os_errors(path, "read"):
            text = path.read_bytes()
        try:
            body = json.loads(text)
            seal = body.pop("checksum")
            if body.pop("schema") != _SCHEMA or seal != _seal({"schema": _SCHEMA, **body}):
                raise ValueError("checksum or schema differs")
            body["files"] = {name: (int(size), sha) for name, (size, sha) in body["files"].items()}
            return Manifest(**body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"{path} is damaged") from error

    def verify(self, directory: Path) -> None:
        """Compares every file's size, then its SHA-256 (about 1 GB a second), with what was written.

        Raises:
            DamagedError: naming the first file that is missing, cut off or changed.
            ArtifactError: if one can't be read.
        """
        for name, (size, _) in self.files.items():
            path = directory / name
            if not path.is_file() or path.stat().st_size != size:
                raise DamagedError(f"{path} is missing or not {size} bytes long")
        for name, (_, sha) in self.files.items():
            if file_digest(directory / name) != sha:
                raise DamagedError(f"{directory / name} is not what was written: its checksum differs")


def create_manifest(
    directory: Path, digest: str, kind: str, description: dict[str, Any], content: dict[str, Any]
) -> Manifest:
    """The manifest of what lies in ``directory`` now, checkpoints left out; every file is flushed to the disk."""
    files = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if path.is_file() and name.parts[0] not in (MANIFEST_NAME, CHECKPOINTS):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            files[name.as_posix()] = (path.stat().st_size, file_digest(path))
    return Manifest(digest, kind, time.time(), description, content, files)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        ArtifactError: if it can't be read.
    """
    with wrap_os_errors(path, "read"), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
