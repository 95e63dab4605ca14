from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llamacpp_core.errors import (
    InvalidParameterError,
    MissingDependencyError,
    ModelDownloadError,
    ModelLoadError,
    ModelNotFoundError,
)
from llamacpp_core.models import resolve_hub, resolve_model
from llamacpp_core.models.hub import HubAddress, parse_address, select_files, split_names

from .conftest import COMMIT, Hub

NAMES = ["tiny-Q4_K_M.gguf", "tiny-Q8_0.gguf", "mmproj-tiny-F16.gguf", "README.md", "IQ/Tiny-iq2.gguf"]
NAMES += [f"big-{number:05d}-of-00003.gguf" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("text", "repo", "pattern", "revision"),
    [
        ("hf:a/b:c.gguf", "a/b", "c.gguf", None),
        ("hf:a/b@v1:dir/c.gguf", "a/b", "dir/c.gguf", "v1"),
        ("hf:a/b@refs/pr/1:*.gguf", "a/b", "*.gguf", "refs/pr/1"),
        ("hf:a/b", "a/b", "*.gguf", None),
        ("hf:a-x/b.y_z:Q4_K_M", "a-x/b.y_z", "*Q4_K_M*.gguf", None),
    ],
)
def test_addresses(text: str, repo: str, pattern: str, revision: str | None) -> None:
    assert parse_address(text) == HubAddress(repo, pattern, revision)


@pytest.mark.parametrize(
    ("pattern", "chosen"),
    [
        ("tiny-Q8_0.gguf", ["tiny-Q8_0.gguf"]),
        ("*Q8_0.gguf", ["tiny-Q8_0.gguf"]),
        ("*q8_0*", ["tiny-Q8_0.gguf"]),
        ("*/*.gguf", ["IQ/Tiny-iq2.gguf"]),
        ("big*", NAMES[-3:]),
        ("big-00002-of-00003.gguf", NAMES[-3:]),
        ("*mmproj*", ["mmproj-tiny-F16.gguf"]),
        ("mmproj-tiny-F16.gguf", ["mmproj-tiny-F16.gguf"]),
    ],
)
def test_selection(pattern: str, chosen: list[str]) -> None:
    assert list(select_files(NAMES, HubAddress("a/b", pattern))) == chosen


@pytest.mark.parametrize(
    ("pattern", "names", "message"),
    [
        ("tiny-Q*", NAMES, r"matches 2 models; name one of: tiny-Q4_K_M\.gguf, tiny-Q8_0\.gguf"),
        ("*Q5*", NAMES, r"matches no file; the repository has: IQ/Tiny.*tiny-Q8_0\.gguf"),
        ("*.gguf", ["README.md"], "no GGUF file at all"),
        ("big*", NAMES[:-1], r"split into 3 files, and these are missing: big-00003-of-00003\.gguf"),
        ("*.gguf", [f"m{n:02d}.gguf" for n in range(30)], "and 10 more"),
    ],
)
def test_selections_that_fail(pattern: str, names: list[str], message: str) -> None:
    with pytest.raises(ModelNotFoundError, match=message):
        select_files(names, HubAddress("a/b", pattern))


def test_split_names_keep_the_count() -> None:
    assert split_names("m-00002-of-00002.gguf") == ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")
    assert split_names("m.gguf") == ("m.gguf",)


@pytest.mark.parametrize("filename", ["tiny-Q8_0.gguf", "*Q8_0.gguf", "TINY-q8_0.gguf", "Q8_0"])
def test_fetch_and_find_again_without_the_network(tiny_repo: Hub, filename: str) -> None:
    model = resolve_hub("owner/tiny", filename)

    assert model.path.read_bytes() == tiny_repo.repos["owner/tiny"]["tiny-Q8_0.gguf"]
    assert (model.name, model.source) == ("owner/tiny", "hf:owner/tiny:tiny-Q8_0.gguf")
    tiny_repo.requests.clear()
    assert resolve_hub("owner/tiny", filename).path == model.path
    assert resolve_model(f"hf:owner/tiny:{filename}", local_files_only=True).path == model.path
    assert tiny_repo.requests == []


@pytest.mark.parametrize(
    "filename", ["big/big-F16-00001-of-00003.gguf", "big/big-F16-00003-of-00003.gguf", "*F16*"]
)
@pytest.mark.usefixtures("tiny_repo")
def test_a_split_model(filename: str) -> None:
    model = resolve_hub("owner/tiny", filename)
    assert [path.name for path in model.files] == [f"big-F16-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert model.path == model.files[0]
    assert resolve_hub("owner/tiny", filename, local_files_only=True) == model


@pytest.mark.usefixtures("tiny_repo")
def test_a_split_model_of_which_a_part_is_cached() -> None:
    name = "big/big-F16-00001-of-00003.gguf"
    model = resolve_hub("owner/tiny", name)
    model.files[1].unlink()
    assert all(path.exists() for path in resolve_hub("owner/tiny", name).files)


def test_revisions(tiny_repo: Hub) -> None:
    model = resolve_model("hf:owner/tiny@v1:*Q8_0.gguf")
    assert model.source == "hf:owner/tiny@v1:tiny-Q8_0.gguf"
    assert any("/resolve/v1/" in request for request in tiny_repo.requests)
    assert COMMIT in model.path.parts
    assert resolve_hub("owner/tiny", "*Q8_0*", revision=COMMIT, local_files_only=True).path == model.path
    with pytest.raises(ModelNotFoundError, match="owner/tiny has no revision 'v9'"):
        resolve_hub("owner/tiny", "tiny-Q8_0.gguf", revision="v9")


def test_local_dir(tiny_repo: Hub, tmp_path: Path) -> None:
    model = resolve_hub("owner/tiny", "*Q8_0.gguf", local_dir=tmp_path / "here")
    assert model.path == tmp_path / "here" / "tiny-Q8_0.gguf"
    tiny_repo.requests.clear()
    assert resolve_hub("owner/tiny", "*Q8_0.gguf", local_dir=tmp_path / "here").path == model.path
    assert tiny_repo.requests == []


@pytest.mark.usefixtures("tiny_repo")
def test_cache_dir(tmp_path: Path) -> None:
    model = resolve_hub("owner/tiny", "*Q8_0.gguf", cache_dir=str(tmp_path / "c"))
    assert model.path.is_relative_to(tmp_path / "c")


def test_tokens_follow_the_hubs_rules(tiny_repo: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_from_environment")
    resolve_hub("owner/tiny", "tiny-Q8_0.gguf")
    assert tiny_repo.tokens == {"Bearer hf_from_environment"}
    tiny_repo.tokens.clear()
    resolve_hub("owner/tiny", "*Q4_K_M.gguf", token="hf_given")
    assert tiny_repo.tokens == {"Bearer hf_given"}
    tiny_repo.tokens.clear()
    resolve_hub("owner/tiny", "*Q4_K_M.gguf", token=False, force_download=True)
    assert tiny_repo.tokens == set()


def test_force_download_brings_the_newer_file(tiny_repo: Hub) -> None:
    files = tiny_repo.repos["owner/tiny"]
    first = resolve_hub("owner/tiny", "tiny-Q8_0.gguf").path.read_bytes()
    files["tiny-Q8_0.gguf"] = files["tiny-Q4_K_M.gguf"]
    tiny_repo.commit = COMMIT[::-1]
    assert resolve_hub("owner/tiny", "tiny-Q8_0.gguf").path.read_bytes() == first
    forced = resolve_hub("owner/tiny", "tiny-Q8_0.gguf", force_download=True)
    assert forced.path.read_bytes() == files["tiny-Q4_K_M.gguf"]


def test_a_broken_cached_file_is_fetched_again(tiny_repo: Hub) -> None:
    path = resolve_hub("owner/tiny", "tiny-Q8_0.gguf").path
    os.truncate(path.resolve(), 700)
    with pytest.raises(ModelLoadError, match="incomplete"):
        resolve_hub("owner/tiny", "tiny-Q8_0.gguf", local_files_only=True)
    again = resolve_hub("owner/tiny", "tiny-Q8_0.gguf")
    assert again.path.read_bytes() == tiny_repo.repos["owner/tiny"]["tiny-Q8_0.gguf"]


def test_a_file_that_is_broken_on_the_hub(hub: Hub) -> None:
    hub.add("owner/bad", {"bad.gguf": b"<html>login</html>"})
    with pytest.raises(ModelLoadError, match="web page"):
        resolve_hub("owner/bad", "bad.gguf")


@pytest.mark.usefixtures("tiny_repo")
def test_no_such_file_lists_what_there_is() -> None:
    with pytest.raises(ModelNotFoundError, match=r"matches no file.*tiny-Q4_K_M\.gguf, tiny-Q8_0\.gguf"):
        resolve_hub("owner/tiny", "tiny-Q2_K.gguf")


@pytest.mark.usefixtures("tiny_repo")
def test_an_ambiguous_glob_lists_the_matches() -> None:
    with pytest.raises(
        ModelNotFoundError, match=r"3 models; name one of: .*tiny-Q4_K_M\.gguf, tiny-Q8_0\.gguf"
    ):
        resolve_hub("owner/tiny")


@pytest.mark.usefixtures("hub")
def test_no_such_repository() -> None:
    with pytest.raises(ModelNotFoundError, match=r"no repository no/where.*HF_TOKEN"):
        resolve_hub("no/where", "x.gguf")


@pytest.mark.parametrize("filename", ["x.gguf", "*.gguf"])
def test_a_gated_repository(tiny_repo: Hub, filename: str) -> None:
    tiny_repo.gated.add("owner/tiny")
    with pytest.raises(
        ModelDownloadError, match=r"is gated: accept its terms on https://huggingface\.co/owner/tiny"
    ):
        resolve_hub("owner/tiny", filename)


@pytest.mark.parametrize("repo", ["nameonly", "a/b/c", "", "a b/c", 7])
def test_repository_names_of_no_form(repo: object) -> None:
    with pytest.raises(InvalidParameterError, match="repo_id="):
        resolve_hub(repo, "x.gguf")  # type: ignore[arg-type]


@pytest.mark.usefixtures("tiny_repo")
def test_an_empty_filename() -> None:
    with pytest.raises(InvalidParameterError, match="filename is empty"):
        resolve_hub("owner/tiny", " ")


@pytest.mark.parametrize("filename", ["tiny-Q8_0.gguf", "*Q8_0.gguf"])
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("status", "message"), [(403, r"refuses owner/tiny \(403\): log in"), (500, "answered 500")]
)
def test_a_server_in_trouble(
    tiny_repo: Hub, monkeypatch: pytest.MonkeyPatch, filename: str, force: bool, status: int, message: str
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    tiny_repo.status = status
    with pytest.raises(ModelDownloadError, match=message):
        resolve_hub("owner/tiny", filename, force_download=force)


def test_a_transfer_that_breaks_off(tiny_repo: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    tiny_repo.truncate.add("tiny-Q8_0.gguf")
    with pytest.raises(ModelDownloadError, match="check the network"):
        resolve_hub("owner/tiny", "tiny-Q8_0.gguf")
    tiny_repo.truncate.clear()
    model = resolve_hub("owner/tiny", "tiny-Q8_0.gguf")
    assert model.path.read_bytes() == tiny_repo.repos["owner/tiny"]["tiny-Q8_0.gguf"]


@pytest.mark.usefixtures("hub")
def test_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants
    import huggingface_hub.file_download as file_download

    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    for filename in ("x.gguf", "*.gguf"):
        with pytest.raises(ModelDownloadError, match="check the network"):
            resolve_hub("owner/tiny", filename)


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        MissingDependencyError, match=r'huggingface_hub: pip install "llamacpp-integrations\[models\]"'
    ):
        resolve_hub("owner/tiny", "x.gguf")


@pytest.mark.usefixtures("tiny_repo")
def test_no_bar_without_a_terminal_and_one_on_request(capfd: pytest.CaptureFixture[str]) -> None:
    resolve_hub("owner/tiny", "tiny-Q8_0.gguf")
    assert capfd.readouterr() == ("", "")
    resolve_hub("owner/tiny", "tiny-Q4_K_M.gguf", progress=True)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "tiny-Q4_K_M.gguf" in shown.err


def run_python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_environment_variables_of_the_hub(tiny_repo: Hub, tmp_path: Path) -> None:
    script = """
from llamacpp_core.models import resolve_model
print(resolve_model("hf:owner/tiny:*Q8_0.gguf").path)
"""
    home = str(tmp_path / "hf-home")
    offline_first = run_python(script, HF_ENDPOINT=tiny_repo.url, HF_HOME=home, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE forbids it" in offline_first.stderr
    online = run_python(script, HF_ENDPOINT=tiny_repo.url, HF_HOME=home)
    assert online.stdout.startswith(home)
    tiny_repo.requests.clear()
    offline = run_python(script, HF_ENDPOINT=tiny_repo.url, HF_HOME=home, HF_HUB_OFFLINE="1")
    assert offline.stdout == online.stdout
    assert tiny_repo.requests == []


def test_additional_files(tiny_repo: Hub, tmp_path: Path) -> None:
    more = ["big/big-F16-00001-of-00003.gguf", "*mmproj*"]
    model = resolve_hub("owner/tiny", "*Q8_0.gguf", additional_files=more[:1], local_dir=tmp_path / "here")
    assert model.files == (tmp_path / "here" / "tiny-Q8_0.gguf",)
    there = sorted(path.name for path in (tmp_path / "here").rglob("*.gguf"))
    assert there == [f"big-F16-0000{n}-of-00003.gguf" for n in (1, 2, 3)] + ["tiny-Q8_0.gguf"]
    with pytest.raises(ModelNotFoundError, match="zzz"):
        resolve_hub("owner/tiny", "*Q8_0.gguf", additional_files=["zzz.gguf"])
    with pytest.raises(InvalidParameterError, match="additional_files"):
        resolve_hub("owner/tiny", "*Q8_0.gguf", additional_files="zzz.gguf")
