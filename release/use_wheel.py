"""Puts a wheel's compiled modules beside their Python in this checkout, so that nothing is compiled.

``make WHEEL=PATH demo`` runs it.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path


def unpack(wheel: Path, core: Path) -> list[str]:
    """Unpacks the modules of ``wheel`` into the folder ``core``; returns their names.

    Raises:
        SystemExit: There is no such wheel, or it holds no modules.
    """
    if not zipfile.is_zipfile(wheel):
        sys.exit(f"WHEEL={wheel}: no such wheel. `make wheel` builds one into dist/.")
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("llamacpp_core/native/_")]
        names = [name for name in names if name.endswith((".so", ".pyd"))]
        if not names:
            sys.exit(f"WHEEL={wheel} holds no compiled modules of llamacpp_core.")
        for old in (core / "llamacpp_core" / "native").glob("_*.abi3.*"):
            old.unlink()
        archive.extractall(core, names)
    return names


def main(arguments: list[str]) -> int:
    """Unpacks into this checkout; returns the exit status."""
    names = unpack(Path(arguments[0]), Path(__file__).resolve().parent.parent / "core")
    print(f"{len(names)} compiled modules taken from {Path(arguments[0]).name}: nothing is built.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
