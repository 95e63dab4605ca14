from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llamacpp_core import models
from llamacpp_core.errors import InvalidParameterError, ModelLoadError, ModelNotFoundError
from llamacpp_core.models import catalog as catalog_module
from llamacpp_core.models import manage
from llamacpp_core.models.catalog import CatalogEntry, HubSource

from .conftest import Hub, Package, write_split


@pytest.fixture
def catalog(
    package: Package,
    tiny_repo: Hub,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Package:
    """A catalog of two models that can be fetched here: one from a package, one from the hub."""
    source = HubSource("owner/tiny", "tiny-Q8_0.gguf")
    remote = CatalogEntry("remote", "rerank", "d", "MIT", "u", "1K", "Q8_0", 5000, source, query_prefix="q: ")
    entries = {"tiny": package.entry, "remote": remote}
    for module in (catalog_module, manage):
        monkeypatch.setattr(module, "load_catalog", lambda: entries)
    return package


def cached(listed: list[models.ListedModel]) -> dict[str, bool]:
    return {model.entry.name: model.cached for model in listed}


@pytest.mark.parametrize("name", ["tiny", "remote"])
@pytest.mark.usefixtures("catalog")
def test_pull_list_info_remove(name: str) -> None:
    others = {"tiny": False, "remote": False}
    assert cached(models.list_models()) == others
    before = models.info(name)
    assert before.path is None
    assert before.architecture is None

    pulled = models.pull(name)

    assert cached(models.list_models()) == others | {name: True}
    after = models.info(name)
    assert after.path == pulled.path
    assert (after.architecture, after.n_params, after.chat_template) == ("llama", 2624, True)
    assert (after.kind, after.license, after.query_prefix) == (before.kind, "MIT", before.query_prefix)
    assert after.size_bytes == pulled.path.stat().st_size
    assert models.remove(name) >= after.size_bytes
    assert not pulled.path.exists()
    assert cached(models.list_models()) == others
    with pytest.raises(ModelNotFoundError, match="not on disk"):
        models.remove(name)


@pytest.mark.usefixtures("catalog")
def test_remove_leaves_the_other_files_of_a_repository() -> None:
    kept = models.pull("hf:owner/tiny:*Q4_K_M.gguf").path
    models.pull("remote")
    models.remove("remote")
    size = kept.stat().st_size
    assert models.remove("hf:owner/tiny:*Q4_K_M.gguf") == size
    assert not kept.exists()


def test_info_of_a_file(tiny_gguf: Path) -> None:
    info = models.info(tiny_gguf)
    assert (info.name, info.kind, info.source, info.license) == ("tiny", "chat", "file", None)
    assert (info.context_length, info.embedding_size, info.n_layers, info.vocab_size) == (512, 64, 2, 40)
    assert [row.n_ctx for row in info.memory] == [512]
    assert info.memory[0].total_bytes == info.memory[0].kv_bytes + (info.weights_bytes or 0)


def test_info_of_a_split_model_counts_all_parts(tmp_path: Path) -> None:
    parts = write_split(tmp_path, "big", 3)
    info = models.info(parts[0])
    assert info.n_params == 3 * 2624
    assert info.size_bytes == sum(part.stat().st_size for part in parts)
    assert info.files == tuple(parts)


@pytest.mark.usefixtures("catalog")
def test_info_of_what_is_not_there() -> None:
    with pytest.raises(
        ModelNotFoundError, match="not on disk; fetch it with: llamacpp models pull hf:owner/tiny:x"
    ):
        models.info("hf:owner/tiny:x.gguf")
    with pytest.raises(ModelNotFoundError, match="no model 'nothing'"):
        models.info("nothing")


@pytest.mark.usefixtures("catalog")
def test_info_of_a_broken_cached_file() -> None:
    models.pull("remote").path.resolve().write_bytes(b"GGUF")
    with pytest.raises(ModelLoadError, match="incomplete"):
        models.info("remote")


def test_remove_touches_no_file_of_ones_own(tiny_gguf: Path) -> None:
    with pytest.raises(InvalidParameterError, match="a file of your own"):
        models.remove(str(tiny_gguf))
    assert tiny_gguf.exists()
    with pytest.raises(ModelNotFoundError, match="no model"):
        models.remove("nothing")


def llamacpp(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = "import sys; from llamacpp_integrations.cli import main; sys.argv[0] = 'llamacpp'; main()"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )


@pytest.mark.usefixtures("cache")
def test_cli_list() -> None:
    plain = llamacpp("models", "list")
    assert plain.returncode == 0
    lines = plain.stdout.splitlines()
    assert lines[0].split() == ["name", "kind", "size", "cached", "license", "source"]
    assert any(
        line.startswith("all-minilm-l6-v2 ") and "Apache-2.0" in line and " no " in line for line in lines
    )
    rows = json.loads(llamacpp("models", "list", "--json").stdout)
    assert {row["name"] for row in rows} == set(models.load_catalog())
    assert all(row["cached"] is False for row in rows if row["source"].startswith("package"))


def test_cli_info(tiny_gguf: Path) -> None:
    plain = llamacpp("models", "info", str(tiny_gguf))
    assert plain.returncode == 0
    for text in ("llama", "2,624", "F16", "512 tokens", "not stated", str(tiny_gguf), "KV cache (f16)"):
        assert text in plain.stdout
    found = json.loads(llamacpp("models", "info", str(tiny_gguf), "--json").stdout)
    assert found["n_params"] == 2624
    assert found["memory"][0]["n_ctx"] == 512


@pytest.mark.usefixtures("cache")
def test_cli_info_of_a_model_that_is_not_fetched() -> None:
    shown = llamacpp("models", "info", "smollm2-135m-instruct")
    assert shown.returncode == 0
    assert "not fetched yet: llamacpp models pull smollm2-135m-instruct" in shown.stdout


def test_cli_pull_and_rm_from_the_hub(tiny_repo: Hub, tmp_path: Path) -> None:
    environment = {"HF_ENDPOINT": tiny_repo.url, "HF_HOME": str(tmp_path / "home")}
    pulled = llamacpp("models", "pull", "hf:owner/tiny:*Q8_0.gguf", **environment)
    assert pulled.returncode == 0
    assert Path(pulled.stdout.strip()).is_file()
    assert pulled.stderr == ""
    removed = llamacpp("models", "rm", "hf:owner/tiny:*Q8_0.gguf", **environment)
    assert removed.stdout.startswith("deleted hf:owner/tiny:*Q8_0.gguf:")
    assert not Path(pulled.stdout.strip()).exists()


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("models", "info", "nope.gguf"), 1, "error: no such model file: nope.gguf"),
        (("models", "pull", "smolm2"), 1, "error: no model 'smolm2'"),
        (("models", "rm", "qwen3-4b"), 1, "error: qwen3-4b is not on disk"),
        (("models", "info", "/"), 1, "error: / is a directory"),
        (("models", "pull", "tiny.gguf", "--dtype", "f16"), 1, "error: dtype='f16' does not apply"),
    ],
)
@pytest.mark.usefixtures("cache")
def test_cli_errors_are_one_line(
    tmp_path: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    shown = llamacpp(*arguments, HF_HOME=str(tmp_path))
    assert (shown.returncode, shown.stdout) == (status, "")
    assert shown.stderr.startswith(message)
    assert shown.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("models", "pull"), ("models", "what"), ("models", "list", "--wrong"), ("x",)]
)
def test_cli_usage_errors(arguments: tuple[str, ...]) -> None:
    shown = llamacpp(*arguments)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("error: ")
    assert shown.stderr.count("\n") == 1


def test_cli_version_and_help() -> None:
    assert llamacpp("--version").stdout.startswith("llamacpp-integrations ")
    shown = llamacpp("--help")
    assert shown.returncode == 0
    assert "models" in shown.stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
@pytest.mark.usefixtures("cache")
def test_cli_without_its_extra(missing: str) -> None:
    script = (
        f"import sys; sys.modules[{missing!r}] = None; from llamacpp_integrations.cli import main; main()"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert shown.returncode == 1
    assert shown.stderr == (
        f'error: the command llamacpp needs {missing}: pip install "llamacpp-integrations[cli]"\n'
    )
