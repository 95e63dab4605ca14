"""Objects and arrays as grammar rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from llamacpp_core.grammar.flatten import Flat
from llamacpp_core.grammar.formats import PATTERNS
from llamacpp_core.grammar.instances import is_valid, types_of
from llamacpp_core.grammar.keywords import refuse, step
from llamacpp_core.grammar.pattern import PatternError
from llamacpp_core.grammar.rules import repeat

if TYPE_CHECKING:
    from llamacpp_core.grammar.compile_value import ValueCompiler

__all__ = ["ContainerCompiler"]


class _Member(NamedTuple):
    expression: str
    required: bool


class ContainerCompiler:
    """Compiles flat schemas of objects and arrays.

    Args:
        compiler: Compiles what is inside.
        sort_properties: Properties by name instead of in the schema's order.
    """

    def __init__(self, compiler: ValueCompiler, *, sort_properties: bool) -> None:
        self.compiler = compiler
        self.values = compiler.values
        self.rules = compiler.values.rules
        self.limits = compiler.values.limits
        self._sort_properties = sort_properties

    def object(self, flat: Flat, path: str, hint: str) -> str:
        """An object: listed properties in order, each there or not, then others where allowed."""
        properties = self._properties(flat, path)
        required = set(flat.get("required", []))
        extra = self._extra(flat)
        low, high = int(flat.get("minProperties", 0)), flat.get("maxProperties")
        n_required = sum(name in required for name in properties)
        if low > max(1, n_required):
            refuse(
                step(path, "minProperties"), "only 1, or the number of required properties, can be enforced"
            )
        if high is not None and high < n_required:
            refuse(step(path, "maxProperties"), f"{n_required} properties are required")
        if high is not None and high < len(properties):
            if high > n_required:
                refuse(
                    step(path, "maxProperties"),
                    "a grammar cannot count optional properties; make them required",
                )
            properties = {name: schema for name, schema in properties.items() if name in required}
        taken = list(dict.fromkeys([*flat.get("properties", {}), *flat.get("required", [])]))
        if (
            not taken
            and extra is True
            and not flat.keys() & {"propertyNames", "minProperties", "maxProperties"}
        ):
            return self.values.any_object(
                max(1, self.limits.max_depth) if self.limits.max_depth is not None else None
            )
        room = None if high is None else int(high) - len(properties)
        others = "" if room == 0 else self._others(flat, extra, taken, path, hint)
        members = [
            _Member(
                self.values.member(
                    name,
                    self.compiler.compile(schema, step(step(path, "properties"), name), f"{hint}-{name}"),
                ),
                name in required,
            )
            for name, schema in properties.items()
        ]
        body = self._members(members, others, room, hint)
        if not body and low > 0:
            refuse(step(path, "minProperties"), "no property is allowed")
        may_be_empty = low == 0 and n_required == 0
        return self.rules.add(
            hint, self.values.bracketed("{}", body, may_be_empty=may_be_empty and bool(body))
        )

    def _properties(self, flat: Flat, path: str) -> dict[str, Any]:
        """The properties by name that may be there, required ones included even where not listed."""
        properties = dict(flat.get("properties", {}))
        required = flat.get("required", [])
        for name in required:
            properties.setdefault(name, flat.get("additionalProperties", True))
        names = flat.get("propertyNames", True)
        flats = self.compiler.document.flatten(names, step(path, "propertyNames"))
        for name, schema in list(properties.items()):
            allowed = any(is_valid(name, f, self.compiler.document, path) for f in flats)
            if schema is False or not allowed:
                if name in required:
                    refuse(step(path, "required"), f"the property {name!r} is required but never valid")
                del properties[name]
        return dict(sorted(properties.items())) if self._sort_properties else properties

    @staticmethod
    def _extra(flat: Flat) -> Any:
        """The schema of properties that are not listed; False where there are none."""
        if "additionalProperties" in flat:
            return flat["additionalProperties"]
        return "properties" not in flat and "required" not in flat

    def _others(self, flat: Flat, extra: Any, taken: list[str], path: str, hint: str) -> str:
        """A property that is not listed, or "" when there are none."""
        if extra is False:
            return ""
        where = step(path, "additionalProperties")
        if extra is True or extra == {}:
            depth = self.limits.max_depth
            value = self.values.anything(None if depth is None else max(0, depth - 1))
        else:
            value = self.compiler.compile(extra, where, f"{hint}-value")
        keys = [self._key(f, taken, path) for f in self._name_schemas(flat, path)]
        return self.rules.add(
            "member", " | ".join(dict.fromkeys(self.values.entry(key, value) for key in keys))
        )

    def _name_schemas(self, flat: Flat, path: str) -> list[Flat]:
        where = step(path, "propertyNames")
        found = self.compiler.document.flatten(flat.get("propertyNames", True), where)
        if not found:
            refuse(where, "no name is valid")
        return found

    def _key(self, names: Flat, taken: list[str], path: str) -> str:
        where = step(path, "propertyNames")
        if "string" not in (types_of(names) or ["string"]):
            refuse(where, "names are strings")
        if "enum" in names:
            free = [
                v
                for v in names["enum"]
                if isinstance(v, str) and v not in taken and is_valid(v, names, self.compiler.document, where)
            ]
            if not free:
                refuse(where, "no name is left for other properties; set additionalProperties to false")
            return self.values.literals(free, "key")
        low, high = self.compiler.length(names)
        formats = [PATTERNS[name] for name in names.get("format", []) if name in PATTERNS]
        try:
            return self.values.key(taken, [*names.get("pattern", []), *formats], low, high)
        except PatternError as error:
            refuse(where, str(error))

    def _members(self, members: list[_Member], others: str, room: int | None, hint: str) -> str:
        """The members with commas between, at least one; "" when there can be none.

        Built from the end. At every place one of two things is known: something was written before, so a
        member comes after a comma (``after``), or a member has to come now (``now``). The size is linear.
        """
        if not members and not others:
            return ""
        comma = self.values.comma if len(members) > 1 or others else ""
        after, after_is_optional, now = "", True, ""
        if others:
            high = room if room is not None else self.limits.max_properties
            now = self.values.several(others, 1, high, "member")
            following = self.rules.add("member-next", f"{comma} {others}")
            after = repeat(self.rules, following, 0, high)
        for index, member in reversed(list(enumerate(members))):
            here = f"{member.expression} {after}".strip()
            if not member.required and now:
                here = f"{here} | {self.rules.add(f'{hint}-rest', now)}"
            now = here
            after_is_optional = after_is_optional and not member.required
            if index:
                symbol = self.rules.add(f"{hint}-rest", now) if " | " in now else now
                after = f"({comma} {symbol})?" if after_is_optional else f"{comma} {symbol}"
        return now

    def array(self, flat: Flat, path: str, hint: str) -> str:
        """An array: the items of ``prefixItems`` in their places, then any number of the others."""
        low, high, prefix, rest = self._array_parts(flat)
        if flat.get("uniqueItems") and (high is None or high > 1):
            refuse(
                step(path, "uniqueItems"),
                "a grammar cannot compare items; leave it out, or set maxItems to 1",
            )
        if high is not None and low > high:
            refuse(step(path, "minItems"), f"at most {high} items are possible, {low} are needed")
        if high is None and self.limits.max_array_items is not None:
            high = max(self.limits.max_array_items, low)
        where = step(path, "prefixItems")
        first = [self.compiler.compile(s, step(where, i), f"{hint}-{i + 1}") for i, s in enumerate(prefix)]
        others = "" if high == 0 else self._rest(rest, path, hint)
        try:
            content = self._items(first, others, low, high)
        except ValueError as error:
            refuse(step(path, "maxItems"), str(error))
        body = self.values.bracketed("[]", content, may_be_empty=low == 0 and bool(content))
        return self.rules.add(hint, body)

    @staticmethod
    def _array_parts(flat: Flat) -> tuple[int, int | None, list[Any], Any]:
        """Fewest and most items, the schemas of the first ones, and that of the others."""
        low, high = int(flat.get("minItems", 0)), flat.get("maxItems")
        prefix = list(flat.get("prefixItems", []))
        rest = flat.get("items", not prefix or low > len(prefix))
        if False in prefix:
            prefix, rest = prefix[: prefix.index(False)], False
        if rest is False:
            high = min(len(prefix), len(prefix) if high is None else int(high))
        if high is not None:
            prefix = prefix[: int(high)]
        return low, None if high is None else int(high), prefix, rest

    def _rest(self, rest: Any, path: str, hint: str) -> str:
        if rest is False:
            return ""
        if rest is True or rest == {}:
            depth = self.limits.max_depth
            return self.values.anything(None if depth is None else max(0, depth - 1))
        return self.compiler.compile(rest, step(path, "items"), f"{hint}-item")

    def _items(self, first: list[str], rest: str, low: int, high: int | None) -> str:
        """The items with commas between, at least one; "" when there can be none."""
        if high == 0:
            return ""
        if not first:
            return self.values.several(rest, low, high, "item") if rest else ""
        comma, done = self.values.comma, len(first)
        content = ""
        if rest and (high is None or high > done):
            following = self.rules.add("item-next", f"{comma} {rest}")
            content = repeat(self.rules, following, max(0, low - done), None if high is None else high - done)
        for index in range(done - 1, 0, -1):
            content = f"{comma} {first[index]} {content}".strip()
            if index >= low:
                content = f"({content})?"
        return f"{first[0]} {content}".strip()
