"""The commands ``llamacpp bench`` and ``llamacpp doctor``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.process import Run

from llamacpp_core.native import _cpu, selftest
from llamacpp_core.native.build_info import build_info
from llamacpp_core.native.cpu_check import Fault
from llamacpp_integrations.cli import checks, measure
from llamacpp_integrations.cli.checks import BROKEN, EXTRAS, NOTE, OK

QUICK = ("--prompt", "8", "--generate", "4", "-r", "2")


def test_bench_of_a_chat_model(run: Run, smollm2_path: Path, tmp_path: Path) -> None:
    done = run("bench", str(smollm2_path), *QUICK, "--concurrency", "2,1", "--plot", "speed.png", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "plot: speed.png\n"
    result = json.loads(done.stdout)
    assert [row["concurrency"] for row in result["throughput"]] == [1, 2]
    for row in result["throughput"]:
        assert 0 < row["tokens_per_second_min"] <= row["tokens_per_second"] <= row["tokens_per_second_max"]
        assert row["generated_per_second"] == pytest.approx(row["tokens_per_second"] / 3, rel=0.5)
    assert result["one_request"]["prompt"] > 0
    assert result["one_request"]["first_token_ms"] > 0
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_bench_tables(run: Run, smollm2_path: Path) -> None:
    chat = run("bench", str(smollm2_path), *QUICK, "--concurrency", "1")
    assert "generating 4 tokens" in chat.stdout
    assert "requests at once" in chat.stdout
    embedding = run("bench", "all-minilm-l6-v2", "--prompt", "8", "-r", "1", "--concurrency", "1,3")
    assert (embedding.returncode, embedding.stderr) == (0, "")
    assert "texts/s" in embedding.stdout


def test_speed_is_the_median_of_the_runs() -> None:
    runs = [{"concurrency": 2, "tokens_per_second": speed} for speed in (1.0, 5.0, 3.0)]
    expected = {
        "concurrency": 2,
        "tokens_per_second": 3,
        "tokens_per_second_min": 1,
        "tokens_per_second_max": 5,
    }
    assert measure.speed(runs) == expected


def test_doctor(run: Run, smollm2_path: Path) -> None:
    done = run("doctor", "--try", str(smollm2_path), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["healthy"] is True
    found = {(finding["topic"], finding["name"]): finding for finding in result["findings"]}
    assert "generates" in found["try", str(smollm2_path)]["detail"]
    assert found["build", "llama.cpp"]["detail"]
    assert found["build", "self-test"]["status"] == OK
    assert found["models", "smollm2-135m-instruct"]["status"] == OK
    assert {topic for topic, _ in found} >= {
        "versions", "build", "devices", "memory", "processes", "cache", "models", "extras",
    }  # fmt: skip
    assert all(finding["advice"] for finding in result["findings"] if finding["status"] != OK)
    table = run("doctor")
    assert table.returncode == 0
    assert "Nothing is broken." in table.stdout


def test_doctor_finds_a_broken_model(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "smollm2-135m-instruct" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    file.parent.mkdir()
    file.write_bytes(b"GGUF but not really")
    (file.parent / ".partial-1").mkdir()
    monkeypatch.setenv("LLAMACPP_CACHE", str(tmp_path))
    done = run("doctor", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["healthy"] is False
    broken = [finding for finding in result["findings"] if finding["status"] == BROKEN]
    assert [(f["name"], f["advice"]) for f in broken] == [
        ("smollm2-135m-instruct", "llamacpp models pull --force smollm2-135m-instruct")
    ]
    assert [f["name"] for f in result["findings"] if f["topic"] == "cache"][-1] == "leftovers"
    table = run("doctor")
    assert table.returncode == 1
    assert "-> llamacpp models pull --force smollm2-135m-instruct" in table.stdout
    assert "1 broken" in table.stdout


def test_doctor_tries_a_model_that_is_none(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    done = run("doctor", "--try", "x.gguf")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_doctor_tells_of_a_cache_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("LLAMACPP_CACHE", str(file / "models"))
    (finding,) = checks._cache()
    assert (finding.status, finding.advice != "") == (BROKEN, True)


def test_doctor_compares_the_cpu_with_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(build_info(), "system_info", "CPU : AVX = 1 | AVX2 = 1 | ")
    monkeypatch.setattr(checks, "cpu_features", lambda: {"avx", "amx_int8"})
    (finding,) = [finding for finding in checks._build() if finding.name == "CPU features"]
    assert finding.status == NOTE
    assert "AMX_INT8" in finding.detail
    monkeypatch.setattr(checks, "cpu_features", lambda: {"avx"})
    (finding,) = [finding for finding in checks._build() if finding.name == "CPU features"]
    assert finding.status == OK


def test_doctor_tells_of_a_cpu_that_cannot_run_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_cpu, "missing", lambda: ["avx512f"])
    findings = [finding for finding in checks.examine() if finding.status == BROKEN]
    assert [(finding.topic, finding.name) for finding in findings] == [("build", "CPU features")]
    assert "avx512f" in findings[0].detail
    assert "pip install" in findings[0].advice


def test_doctor_tells_what_the_selftest_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = Fault("multiplying q4_0 matrices in AMX memory ended with SIGSEGV", "compile without")
    monkeypatch.setattr(selftest, "run_selftest", lambda: selftest.SelfTest(3, (fault,)))
    right, wrong = checks._selftest()
    assert (right.status, wrong.status, wrong.advice) == (OK, BROKEN, "compile without")
    assert "SIGSEGV" in wrong.detail


def test_doctor_tells_of_a_gpu_that_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(build_info(), "gpu_offload", False)
    monkeypatch.setattr(checks, "_unused_gpu", lambda: "GGML_CUDA")
    (finding,) = [finding for finding in checks._devices() if finding.name == "GPU"]
    assert "-DGGML_CUDA=on" in finding.advice


def test_system_info_is_read_by_backend() -> None:
    text = "CUDA : ARCHS = 800,900 | PEER = 0 | CPU : AVX2 = 1 | SVE_CNT = 16 | "
    assert list(checks._groups(text)) == [("CUDA", ["ARCHS=800,900"]), ("CPU", ["AVX2", "SVE_CNT=16"])]


def test_a_check_that_fails_is_a_finding() -> None:
    def _odd() -> object:
        raise OSError("disk on fire")

    (finding,) = checks._guarded(_odd)  # type: ignore[arg-type]
    assert (finding.topic, finding.status) == ("odd", BROKEN)
    assert "disk on fire" in finding.detail


def test_the_extras_are_those_of_the_package() -> None:
    from importlib.metadata import metadata

    known = set(metadata("llamacpp-integrations").get_all("Provides-Extra") or ())
    assert set(EXTRAS) - {"data"} <= known
