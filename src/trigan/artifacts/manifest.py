"""The list of an artifact's files with sizes and SHA-256, and the check that they are unchanged."""

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trigan.atomic import checksum, parse_json, wrap_os_errors, write_json
from trigan.errors import ArtifactError

MANIFEST_NAME = "manifest.json"
CHECKPOINTS = "checkpoints"
_SCHEMA = 1


class DamagedError(ArtifactError):
    """A file of an artifact is missing, truncated or changed: the artifact must be trained again."""


@dataclass(frozen=True)
class Manifest:
    """Content of an artifact's directory.

    Attributes:
        digest: the stage's hash, which is also the directory's name.
        kind: one word (``gan``, ``classifier``, ``joint``).
        created: when it was finished, in seconds since 1970.
        description: the stage's own settings as plain data; the digest is their hash.
        content: what the stage records with its files: counted cost, status, step.
        files: relative path -> (bytes, SHA-256).
    """

    digest: str
    kind: str
    created: float
    description: dict[str, Any]
    content: dict[str, Any]
    files: dict[str, tuple[int, str]]

    @staticmethod
    def read(directory: Path) -> "Manifest":
        """Read and verify ``manifest.json`` alone.

        Raises:
            DamagedError: if it is missing, truncated, edited, or of another schema.
            ArtifactError: if it exists but cannot be read (permissions), so its state is unknown.
        """
        path = directory / MANIFEST_NAME
        if not path.is_file():
            raise DamagedError(f"{path} is missing")
        with wrap_os_errors(path, "read"):
            text = path.read_bytes()
        try:
            body = parse_json(text, required=True)
            del body["checksum"]
            if body.pop("schema") != _SCHEMA:
                raise ValueError("schema differs")
            body["files"] = {name: (int(size), sha) for name, (size, sha) in body["files"].items()}
            return Manifest(**body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"{path} is damaged") from error

    def verify(self, directory: Path) -> None:
        """Compare every file's size, then its SHA-256 (about 1 GB a second), with what was written.

        Raises:
            DamagedError: naming the first file that is missing, truncated or changed.
            ArtifactError: if one cannot be read.
        """
        for name, (size, _) in self.files.items():
            path = directory / name
            if not path.is_file() or path.stat().st_size != size:
                raise DamagedError(f"{path} is missing or not {size} bytes long")
        for name, (_, sha) in self.files.items():
            if _file_digest(directory / name) != sha:
                raise DamagedError(f"{directory / name} is not what was written: its checksum differs")


def write_manifest(
    directory: Path, digest: str, kind: str, description: dict[str, Any], content: dict[str, Any]
) -> None:
    """Flush the files in ``directory``, checkpoints left out, to the disk, and write their manifest atomically."""
    files = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory)
        if path.is_file() and name.parts[0] not in (MANIFEST_NAME, CHECKPOINTS):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
            files[name.as_posix()] = (path.stat().st_size, _file_digest(path))
    manifest = Manifest(digest, kind, time.time(), description, content, files)
    body = json.loads(json.dumps({"schema": _SCHEMA, **asdict(manifest)}))  # hash what a reader gets: text keys
    write_json(directory / MANIFEST_NAME, {**body, "checksum": checksum(body)})


def _file_digest(path: Path) -> str:
    with wrap_os_errors(path, "read"), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
