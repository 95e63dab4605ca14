"""Objects as grammar rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from llamacpp_core.errors import GrammarError
from llamacpp_core.grammar.automaton import Dfa, not_these
from llamacpp_core.grammar.names import MAX_NAME, other_names
from llamacpp_core.grammar.pattern import PatternError
from llamacpp_core.grammar.rules import choice
from llamacpp_core.grammar.schema.document import Node
from llamacpp_core.grammar.schema.flats import Array, Object, Region, Text
from llamacpp_core.grammar.schema.keywords import NoValueError, refuse, step
from llamacpp_core.grammar.schema.languages import accepts, text_dfa
from llamacpp_core.grammar.schema.members import Body, Member
from llamacpp_core.grammar.schema.regions import lookup, region_dfa
from llamacpp_core.grammar.strings import bounded_rules

if TYPE_CHECKING:
    from llamacpp_core.grammar.schema.compile_value import ValueCompiler

__all__ = ["ObjectCompiler"]

_MAX_NAMES = 200
_MAX_COUNTED = 4000
#: Most properties of an object that may come in two orders.
_MAX_REORDERED = 40


class ObjectCompiler:
    """Compiles flat schemas of objects.

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

    def object(self, flat: Object, path: str, hint: str) -> str:
        """An object: named properties in order, each there or not, then others where allowed."""
        document = self.compiler.document
        if not flat.names and self.compiler.shapes.is_default("object", flat._replace(typed=False)):
            depth = self.limits.max_depth
            return self.values.any_object(None if depth is None else max(1, depth))
        if flat.high == 0 and not flat.required and not flat.low:
            return self.values.bracketed("{}", "", may_be_empty=True)
        names = dict.fromkeys((*flat.names, *flat.required))
        listed = self._enumerated(flat)
        if listed is not None:
            names = dict.fromkeys((*(n for n in names if n in listed or n in flat.required), *listed))
        members: dict[str, Member] = {}
        for name in sorted(names) if self._sort_properties else names:
            member = self._member(flat, name, lookup(flat, name, document).node, path, hint)
            if member is not None:
                members[name] = member
        if flat.high is not None and flat.high < len(flat.required):
            self._none(step(path, "maxProperties"), f"{len(flat.required)} properties are required")
        n_named = len(members)
        room = flat.high is None or flat.high > len(flat.required)
        others = "" if listed is not None or not room else self._others(flat, [*names], path, hint)
        if others and flat.low > n_named + 1 and flat.low > len(flat.required) + 1:
            refuse(
                step(path, "minProperties"),
                "names of unlisted properties cannot be told apart; list them, or name them in propertyNames",
            )
        symbol = self._braced(flat, [*members.values()], others, path, hint)
        reordered = self._by_requirement(flat, members)
        if reordered is None:
            return symbol
        return self.rules.add(hint, choice([symbol, self._braced(flat, reordered, others, path, hint)]))

    def _by_requirement(self, flat: Object, members: dict[str, Member]) -> list[Member] | None:
        """The members in the order of ``required``, then the others; None where that is no second order.

        It is none either where both orders begin alike with values that have many levels: all that is inside
        would have to be read in two ways at once.
        """
        if self._sort_properties or flat.low or flat.high is not None or len(members) > _MAX_REORDERED:
            return None
        listed = [name for name, member in members.items() if member.required]
        wanted = [name for name in flat.required if name in members]
        if listed == wanted:
            return None
        for name, other in zip(listed, wanted, strict=True):
            if name != other:
                break
            if not self._is_shallow(lookup(flat, name, self.compiler.document).node, 1):
                return None
        return [members[name] for name in dict.fromkeys((*wanted, *members))]

    def _is_shallow(self, node: Node, levels: int) -> bool:
        """Whether values have at most so many levels of objects and arrays."""
        for flats in self.compiler.shapes.of(node).values():
            for flat in flats:
                inside: list[Node] = []
                if isinstance(flat, Object):
                    inside = [known.node for known in flat.names.values()]
                    inside += [] if flat.listed else [region.node for region in flat.rest]
                elif isinstance(flat, Array):
                    inside = [*flat.prefix, flat.rest]
                else:
                    continue
                if not levels or not all(self._is_shallow(part, levels - 1) for part in inside):
                    return False
        return True

    def _braced(self, flat: Object, members: list[Member], others: str, path: str, hint: str) -> str:
        if others and flat.low > len(flat.required) + 1:
            # What is not listed may repeat a name: it counts for one at most.
            others, members = "", members
        low, high = flat.low, flat.high
        if low <= sum(member.required for member in members):
            low = 0
        if high is not None and not others and high >= len(members):
            high = None
        if (len(members) + 1) * max(low, high or 0, 1) > _MAX_COUNTED:
            refuse(
                step(path, "maxProperties" if high else "minProperties"),
                "too many optional properties to be counted; make them required",
            )
        early = not self._sort_properties
        body = Body(self.values, members, others, (low, high), hint, required_first=early)
        content, may_be_empty = body.start(), body.may_end(0, 0)
        if not content and not may_be_empty:
            self._none(step(path, "minProperties"), f"fewer than {flat.low} properties are possible")
        return self.rules.add(
            hint, self.values.bracketed("{}", content, may_be_empty=may_be_empty and bool(content))
        )

    @staticmethod
    def _none(path: str, reason: str) -> NoReturn:
        raise NoValueError(f"{path}: {reason}", parameter="json_schema")

    def _member(self, flat: Object, name: str, node: Node, path: str, hint: str) -> Member | None:
        """A named property; None when it can have no value and need not be there."""
        required = name in flat.required
        try:
            if node is self.compiler.document.false or not (
                flat.keys is None or self.compiler.name_fits(name, flat.keys)
            ):
                self._none(step(path, "required"), f"the property {name!r} is required but never valid")
            value = self.compiler.rule(node, f"{hint}-{name}")
        except NoValueError:
            self.compiler.dropped = True
            if required:
                raise
            return None
        except PatternError as error:
            refuse(step(path, "propertyNames"), str(error))
        return Member(self.values.member(name, value), required)

    def _enumerated(self, flat: Object) -> list[str] | None:
        """All names that ``propertyNames`` allows where it lists them."""
        if flat.keys is None:
            return None
        flats = [f for f in self.compiler.shapes.of(flat.keys).get("string", ()) if isinstance(f, Text)]
        if any(f.values is None for f in flats) or sum(len(f.values or ()) for f in flats) > _MAX_NAMES:
            return None
        return list(dict.fromkeys(name for f in flats for name in f.values or () if accepts(f, name)))

    def _others(self, flat: Object, taken: list[str], path: str, hint: str) -> str:
        """A property that is not named, or "" when there are none."""
        entries: list[str] = []
        document = self.compiler.document
        for region in flat.rest:
            silent = region.node is document.true and not region.evaluated and not region.within
            if region.node is document.false or (silent and flat.listed):
                continue
            try:
                value = self.compiler.inside(region.node, f"{hint}-value")
                entries += [self.values.entry(key, value) for key in self._keys(flat, region, taken, path)]
            except NoValueError:
                self.compiler.dropped = True
        return self.rules.add("member", " | ".join(dict.fromkeys(entries))) if entries else ""

    def _keys(self, flat: Object, region: Region, taken: list[str], path: str) -> list[str]:
        """Symbols for the names of a region."""
        texts: list[Text] = [Text()]
        if flat.keys is not None:
            found = self.compiler.shapes.of(flat.keys).get("string", ())
            texts = [text for text in found if isinstance(text, Text)]
        word = "patternProperties" if region.within or region.without else "propertyNames"
        if texts == [Text()] and not region.within and not region.without and all(map(_is_short, taken)):
            return [self.values.automaton(other_names(tuple(taken), self.limits.max_key_length), "key")]
        try:
            names = region_dfa(region.within, region.without, wide=False)
            # A region that no listed name lies in is the same for many objects, and its rules are known.
            if any(map(names.accepts, taken)):
                names = names.intersect(not_these(tuple(taken)))
            keys = [self._key(text, names) for text in texts]
        except PatternError as error:
            refuse(step(path, word), str(error))
        except GrammarError:
            raise
        except ValueError as error:
            refuse(step(path, "propertyNames"), str(error))
        return [key for key in keys if key is not None]

    def _key(self, text: Text, names: Dfa) -> str | None:
        if text.values is not None:
            free = [name for name in text.values if accepts(text, name) and names.accepts(name)]
            return self.values.literals(free, "key") if free else None
        own = text_dfa(text, wide=False)
        dfa = names if own is None else names.intersect(own)
        limit = self.limits.max_key_length
        rules = bounded_rules(dfa, text.low, text.high, limit)
        return None if rules is None else self.values.automaton(rules, "key")


def _is_short(name: str) -> bool:
    return len(name) <= MAX_NAME
