"""Answers in a file, so that interrupted work goes on where it stopped."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NoReturn

from llamacpp_core._checks import file_path
from llamacpp_core.errors import InvalidParameterError

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Answered"]

#: SQLite's mark for a file of this kind, "lcan".
_KIND = 0x6C63616E
_TABLES = (
    "create table about (model text not null)",
    "create table answers (key text primary key, digest blob not null, answer text not null) without rowid",
)

#: Connections that a forked child must not close, which would take the parent's file from it.
_of_parents: list[sqlite3.Connection] = []


class Answered:
    """The answers that are there already, in an SQLite database.

    An answer is there as a whole or not at all, whatever ends the process. It belongs to a request, and a
    request that has changed since has none. One process at a time works with a file.

    Args:
        path: The file; made where there is none.
        model: What tells the model from others.

    Raises:
        InvalidParameterError: The file cannot be used, is used by another process, or has the answers of
            another model.
    """

    def __init__(self, path: str | os.PathLike[str], model: str) -> None:
        import sqlite3

        self._path = file_path("resume", path)
        self._pid = os.getpid()
        try:
            # Without a thread check: one thread at a time works with it.
            self._db = sqlite3.connect(self._path, timeout=1, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            self._refuse(error)
        try:
            self._open(model)
        except sqlite3.Error as error:
            self._db.close()
            self._refuse(error)
        except InvalidParameterError:
            self._db.close()
            raise

    def _open(self, model: str) -> None:
        # The exclusive lock also does without shared memory, which network file systems lack.
        self._db.execute("pragma locking_mode = exclusive")
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.execute("begin exclusive")
        (kind,) = self._db.execute("pragma application_id").fetchone()
        (n_tables,) = self._db.execute("select count(*) from sqlite_master").fetchone()
        if not n_tables:
            self._db.execute(f"pragma application_id = {_KIND}")
            for table in _TABLES:
                self._db.execute(table)
            self._db.execute("insert into about values (?)", (model,))
        elif kind != _KIND:
            raise InvalidParameterError(f"resume: {self._path} is another program's file", parameter="resume")
        (made_by,) = self._db.execute("select model from about").fetchone()
        if made_by != model:
            raise InvalidParameterError(
                f"resume: {self._path} has the answers of {made_by}, and this is {model}: use that model, or "
                "another file",
                parameter="resume",
            )
        self._db.execute("commit")

    def _refuse(self, error: sqlite3.Error) -> NoReturn:
        text = str(error)
        if "locked" in text:
            text = "another process is at work with it"
        raise InvalidParameterError(f"resume: {self._path}: {text}", parameter="resume") from None

    def __len__(self) -> int:
        (count,) = self._db.execute("select count(*) from answers").fetchone()
        return int(count)

    def get(self, key: Any, digest: bytes) -> Any:
        """The answer to a request; None where there is none.

        Args:
            key: The request's name.
            digest: What tells it from others.
        """
        found = self._db.execute(
            "select answer from answers where key = ? and digest = ?", (_text(key), digest)
        ).fetchone()
        return None if found is None else json.loads(found[0])

    def put(self, key: Any, digest: bytes, answer: Any) -> None:
        """Keeps the answer to a request, in place of an older one of that name."""
        self._db.execute(
            "insert or replace into answers values (?, ?, ?)",
            (_text(key), digest, json.dumps(answer, ensure_ascii=True)),
        )

    def close(self) -> None:
        """Closes the file; in a forked child it is the parent's, and stays open. Can be repeated."""
        if self._pid == os.getpid():
            self._db.close()
        else:
            _of_parents.append(self._db)


def _text(key: Any) -> str:
    return json.dumps(key, default=str, sort_keys=True)
