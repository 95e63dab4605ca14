"""Keeps the cached vectors of queries apart from those of texts."""

from __future__ import annotations

from typing import Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore

__all__ = ["QueryCache"]


class QueryCache(BaseKVStore):
    """A view of a cache whose collections are another cache's, under names of their own.

    The framework keys its cache by the text alone, so a query would get the vector of an equal text.
    """

    def __init__(self, cache: BaseKVStore) -> None:
        self._cache = cache

    @staticmethod
    def _name(collection: str) -> str:
        return f"{collection}.queries"

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Stores a value."""
        self._cache.put(key, val, self._name(collection))

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Stores a value."""
        await self._cache.aput(key, val, self._name(collection))

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """The value of a key."""
        return self._cache.get(key, self._name(collection))

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """The value of a key."""
        return await self._cache.aget(key, self._name(collection))

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """All values."""
        return self._cache.get_all(self._name(collection))

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """All values."""
        return await self._cache.aget_all(self._name(collection))

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Removes a key."""
        return self._cache.delete(key, self._name(collection))

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Removes a key."""
        return await self._cache.adelete(key, self._name(collection))
