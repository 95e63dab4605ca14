from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_site_builds_without_warnings(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-D", "nb_execution_mode=off"]
    done = subprocess.run(
        [*build, "-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for page in ("index", "tutorial", "how-to/tools", "notebooks/1-first-chat", "reference/llama"):
        assert (tmp_path / "html" / f"{page}.html").is_file()
    reference = (tmp_path / "html" / "reference" / "llama.html").read_text("utf-8")
    for name in (
        "create_chat_completion",
        "acreate_completion",
        "embed",
        "rerank",
        "n_ctx",
        "from_pretrained",
    ):
        assert f"{name}</span>" in reference
