"""Vectors on disk, piece by piece, so that interrupted work goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Pieces"]

_SETTINGS = "settings.json"


class Pieces:
    """A folder beside the output, with the vectors of some rows in each file.

    A file appears by a rename, so that it is whole or not there. The folder remembers what its vectors were
    made from, and refuses to go on with something else.

    Args:
        output: The file that the vectors are for.
        settings: What the vectors are made from and how, as JSON values.
        restart: Throw away what is there.

    Attributes:
        folder: The folder.

    Raises:
        InvalidParameterError: The folder belongs to other settings.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any], *, restart: bool = False) -> None:
        self.folder = output.with_name(output.name + ".pieces")
        if restart:
            self.remove()
        self.folder.mkdir(exist_ok=True)
        known = self.folder / _SETTINGS
        if known.exists():
            self._same(json.loads(known.read_text("utf-8")), dict(settings))
        else:
            self._write(known, json.dumps(settings, indent=1).encode())

    def _same(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        for key in new:
            if old.get(key) != new[key]:
                raise InvalidParameterError(
                    f"{self.folder} was begun with another {key} ({old.get(key)!r}, now {new[key]!r}): "
                    "use the same again to go on, or --restart to begin anew",
                    parameter=key,
                )

    def count(self) -> int:
        """How many rows have their vector: those of the pieces that follow one another from the first."""
        return sum(len(vectors) for vectors in self._all())

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        """Keeps the vectors of rows that follow those before them.

        Args:
            first: The number of the first row, from 0.
            vectors: Shape [rows, dim].
        """
        import io

        import numpy as np

        data = io.BytesIO()
        np.save(data, vectors, allow_pickle=False)
        self._write(self._path(first), data.getvalue())

    def vectors(self) -> Iterator[NDArray[np.float32]]:
        """The vectors of all rows, one after the other."""
        for piece in self._all():
            yield from piece

    def remove(self) -> None:
        """Deletes the folder and what this class put there."""
        if self.folder.is_dir():
            for path in self.folder.iterdir():
                if path.suffix == ".npy" or path.name == _SETTINGS or path.name.endswith(".writing"):
                    path.unlink()
            self.folder.rmdir()

    def _all(self) -> Iterator[NDArray[np.float32]]:
        import numpy as np

        first = 0
        while (path := self._path(first)).exists():
            vectors = np.load(path, allow_pickle=False)
            yield vectors
            first += len(vectors)

    def _path(self, first: int) -> Path:
        return self.folder / f"{first:010d}.npy"

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(path.name + ".writing")
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
