"""Types and models as people hand them to tools, with what pydantic makes of them."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import pathlib
import re
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, Optional

import annotated_types
import pydantic
from pydantic import BaseModel, ConfigDict, Field, Json, RootModel, TypeAdapter
from typing_extensions import TypedDict

__all__ = ["ADAPTERS", "NOT_READ_BACK"]


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Rank(enum.IntEnum):
    FIRST = 1
    SECOND = 2


class Point(NamedTuple):
    x: float
    y: float


@dataclasses.dataclass
class Item:
    name: str
    price: float
    tags: list[str] = dataclasses.field(default_factory=list)


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: float = Field(gt=0)


class Square(BaseModel):
    kind: Literal["square"]
    side: float = Field(gt=0)


class Drawing(BaseModel):
    shapes: list[Annotated[Circle | Square, Field(discriminator="kind")]]


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Chain(BaseModel):
    value: str
    next: Chain | None = None


class Extra(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "x"}], "x-order": 3, "propertyOrder": ["name"], "hint": "y"}
    )
    name: str = Field(json_schema_extra={"format": "textarea", "widget": "area", "errorMessage": "no"})


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", title="A closed one")
    name: str


class Aliased(BaseModel):
    model_config = ConfigDict(validate_by_name=True)
    first_name: str = Field(alias="firstName")
    is_active: bool = Field(True, serialization_alias="isActive")


class Names(RootModel[list[str]]):
    pass


class Search(BaseModel):
    """Search the shop."""

    query: str = Field(description="What to look for", min_length=1, max_length=80)
    limit: int = Field(10, ge=1, le=50, description="How many")
    category: Literal["books", "music"] | None = None
    price: tuple[float, float] | None = None
    filters: dict[str, str | int | bool] = {}


class Order(BaseModel):
    id: uuid.UUID
    at: datetime.datetime
    items: list[Item] = Field(min_length=1, max_length=5)
    total: decimal.Decimal = Field(max_digits=6, decimal_places=2)
    note: Annotated[str, Field(pattern=r"^[^\n]*$")] | None = None
    level: Level = Level.LOW


class Entities(BaseModel):
    people: set[str]
    places: frozenset[Literal["here", "there"]]
    dates: list[datetime.date]
    web: list[pydantic.HttpUrl] = []


Word = Annotated[str, Field(pattern="^[a-z]+$", max_length=12)]

TYPES: dict[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "none": None,
    "any": Any,
    "decimal": decimal.Decimal,
    "date": datetime.date,
    "datetime": datetime.datetime,
    "aware datetime": pydantic.AwareDatetime,
    "naive datetime": pydantic.NaiveDatetime,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "past date": pydantic.PastDate,
    "uuid": uuid.UUID,
    "uuid4": pydantic.UUID4,
    "uuid7": pydantic.UUID7,
    "bytes": bytes,
    "base64 bytes": pydantic.Base64Bytes,
    "base64 url": pydantic.Base64UrlStr,
    "byte size": pydantic.ByteSize,
    "path": pathlib.Path,
    "file path": pydantic.FilePath,
    "directory path": pydantic.DirectoryPath,
    "new path": pydantic.NewPath,
    "url": pydantic.AnyUrl,
    "http url": pydantic.HttpUrl,
    "file url": pydantic.FileUrl,
    "dsn": pydantic.PostgresDsn,
    "ip": pydantic.IPvAnyAddress,
    "ip network": pydantic.IPvAnyNetwork,
    "ip interface": pydantic.IPvAnyInterface,
    "ipv4": ipaddress.IPv4Address,
    "ipv6": ipaddress.IPv6Address,
    "ipv4 network": ipaddress.IPv4Network,
    "ipv6 interface": ipaddress.IPv6Interface,
    "secret": pydantic.SecretStr,
    "json": Json[Any],
    "json of a list": Json[list[int]],
    "regular expression": re.Pattern[str],
    "literal": Literal["a", 1, None],
    "enum": Level,
    "int enum": Rank,
    "optional": Optional[int],  # noqa: UP045
    "union": int | str | list[float],
    "list": list[int],
    "bare list": list,
    "bare dict": dict,
    "deque": deque[int],
    "sequence": Sequence[str],
    "set of int": set[int],
    "set of str": set[str],
    "set of literals": set[Literal["a", "b", "c"]],
    "set of enums": frozenset[Level],
    "set of dates": set[datetime.date],
    "pair": tuple[int, str],
    "tuple": tuple[int, ...],
    "empty tuple": tuple[()],
    "dict": dict[str, int],
    "dict by int": dict[int, str],
    "dict by pattern": dict[Word, float],
    "dict by literal": dict[Literal["a", "b"], int],
    "dict by enum": dict[Level, int],
    "dict by uuid": dict[uuid.UUID, bool],
    "dict with size": Annotated[dict[str, int], Field(max_length=3)],
    "mapping": Mapping[str, list[int]],
    "nested": dict[str, dict[str, list[int | None]]],
    "positive int": pydantic.PositiveInt,
    "non-negative float": pydantic.NonNegativeFloat,
    "finite float": pydantic.FiniteFloat,
    "strict int": pydantic.StrictInt,
    "multiple of 5": Annotated[int, Field(multiple_of=5)],
    "multiple of 5 in bounds": Annotated[int, Field(multiple_of=5, ge=10, lt=100)],
    "multiple of a half": Annotated[float, Field(multiple_of=0.5, ge=0, le=10)],
    "multiple of cents": Annotated[float, annotated_types.MultipleOf(0.25)],
    "decimal with places": Annotated[decimal.Decimal, Field(max_digits=5, decimal_places=2)],
    "bounds": Annotated[float, Field(gt=-1.5, le=2.5)],
    "word": Word,
    "stripped": Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=2)],
    "list with size": Annotated[list[int], Field(min_length=2, max_length=3)],
    "set with size": Annotated[set[Rank], Field(min_length=1, max_length=2)],
    "named tuple": Point,
    "dataclass": Item,
    "typed dict": Movie,
    "model": Search,
    "order": Order,
    "entities": Entities,
    "drawing": Drawing,
    "union by kind": Annotated[Circle | Square, Field(discriminator="kind")],
    "tree": Tree,
    "chain": Chain,
    "extra words": Extra,
    "open model": Open,
    "closed model": Closed,
    "aliases": Aliased,
    "root model": Names,
    "list of models": list[Closed],
    "dict of models": dict[str, Circle | None],
}

#: Name to adapter.
ADAPTERS: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(type_) for name, type_ in TYPES.items()}
#: What pydantic checks beyond the schema that it writes: existing files, past dates, texts inside texts.
NOT_READ_BACK = frozenset(
    {
        "any", "base64 bytes", "base64 url", "byte size", "bytes", "decimal", "decimal with places",
        "directory path", "dsn", "entities", "file path", "file url", "http url", "json", "json of a list",
        "naive datetime", "new path", "order", "past date", "regular expression", "stripped", "timedelta",
        "url", "date", "datetime", "aware datetime", "set of dates", "dict by int",
    }
)  # fmt: skip
