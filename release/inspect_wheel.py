"""Looks into a wheel before it is given to anybody: platform, stable ABI, what it needs, what it holds.

``make wheel`` runs it with the wheel that it has built.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

# What every Linux with glibc has; no OpenMP. The C++ library is in the module.
_LIBRARIES = re.compile(r"(libc|libm|libdl|libpthread|librt|libgcc_s)\.so\.\d+|ld-linux-x86-64\.so\.2")
_LICENCES = ("licenses/LICENSE", "licenses/llama.cpp/LICENSE")


def modules(wheel: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The wheel's extension modules."""
    return [entry for entry in wheel.infolist() if entry.filename.endswith(".abi3.so")]


def faults(path: Path) -> list[str]:
    """What is wrong with the wheel, in words; empty if nothing is."""
    found = []
    with zipfile.ZipFile(path) as wheel, tempfile.TemporaryDirectory() as folder:
        names = wheel.namelist()
        for licence in _LICENCES:
            if not any(name.endswith(f".dist-info/{licence}") for name in names):
                found.append(f"{licence} is missing in the wheel's dist-info")
        if not modules(wheel):
            found.append("it holds no extension module")
        for entry in modules(wheel):
            found += [
                f"{entry.filename}: {fault}" for fault in _module_faults(Path(wheel.extract(entry, folder)))
            ]
    return found


def _module_faults(module: Path) -> list[str]:
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    found = []
    with module.open("rb") as file:
        elf = ELFFile(file)
        dynamic = next(section for section in elf.iter_sections() if isinstance(section, DynamicSection))
        for tag in dynamic.iter_tags():
            if tag.entry.d_tag == "DT_NEEDED" and not _LIBRARIES.fullmatch(tag.needed):
                found.append(f"it needs {tag.needed}")
            if tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH"):
                found.append("it has a search path of its own")
        if elf.get_section_by_name(".symtab") or elf.get_section_by_name(".debug_info"):
            found.append("it is not stripped")
        symbols = elf.get_section_by_name(".dynsym").iter_symbols()
        public = sorted(one.name for one in symbols if one.name and one.entry.st_shndx != "SHN_UNDEF")
        if [name for name in public if not name.startswith("PyInit_")]:
            found.append(f"it exports {', '.join(public)}")
        if nowhere := _from_nowhere(elf):
            found.append(f"no library that it needs has {', '.join(nowhere)}")
    return found


def _from_nowhere(elf: Any) -> list[str]:
    """Symbols that neither Python nor a library has: linked with a glibc that is too old for them."""
    versions = elf.get_section_by_name(".gnu.version")
    out = []
    for i, symbol in enumerate(elf.get_section_by_name(".dynsym").iter_symbols()):
        undefined = symbol.entry.st_shndx == "SHN_UNDEF" and symbol.entry.st_info.bind != "STB_WEAK"
        versioned = versions is not None and isinstance(versions.get_symbol(i).entry.ndx, int)
        if undefined and symbol.name and not versioned and not symbol.name.startswith(("Py", "_Py")):
            out.append(symbol.name)
    return out


def main(arguments: list[str]) -> int:
    """Inspects wheels and prints what is in them; returns the exit status."""
    wrong = 0
    for argument in arguments:
        path = Path(argument)
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")
        with zipfile.ZipFile(path) as wheel:
            for entry in modules(wheel):
                size, packed = entry.file_size / 1e6, entry.compress_size / 1e6
                print(f"  {size:6.2f} MB, packed {packed:5.2f} MB  {entry.filename}")
        for fault in faults(path):
            print(f"  WRONG: {fault}")
            wrong += 1
        for command in (["auditwheel", "show"], ["abi3audit", "--strict", "--report"]):
            done = subprocess.run([sys.executable, "-m", *command, str(path)], check=False)
            wrong += done.returncode != 0
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
