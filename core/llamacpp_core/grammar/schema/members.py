"""Members of objects, and items of arrays, each there or not."""

from __future__ import annotations

from typing import NamedTuple

from llamacpp_core.grammar.rules import repeat
from llamacpp_core.grammar.values import Values

__all__ = ["Body", "Member"]


class Member(NamedTuple):
    """A member: its expression, and whether it has to be there."""

    expression: str
    required: bool


class Body:
    """The members of one object with commas between, in order, as rules.

    A place is known by the next member and by how many were written, as far as that still matters.

    Args:
        values: Where rules go.
        members: The members in order.
        others: A symbol for members after these; "" for none.
        bounds: Fewest and most members.
        hint: Prefix of the names of its rules.
        required_first: The required members may also come before all others, in order, where members are not
            counted.
    """

    def __init__(
        self,
        values: Values,
        members: list[Member],
        others: str,
        bounds: tuple[int, int | None],
        hint: str,
        *,
        required_first: bool = False,
    ) -> None:
        self.values = values
        self.rules = values.rules
        self.members = members
        self.others = others
        self.low, self.high = bounds
        self.top = self.low if self.high is None else self.high + 1
        self.hint = hint
        self.needed = [0] * (len(members) + 1)
        for index in range(len(members) - 1, -1, -1):
            self.needed[index] = self.needed[index + 1] + members[index].required
        self._known: dict[tuple[int, int], str] = {}
        # From which member on places are needed in the order of the members; before it, also in the other.
        self._lead = 0
        if members and not self.low and self.high is None:
            first = next((index for index, member in enumerate(members) if not member.required), len(members))
            if required_first and first < len(members) and self.needed[first]:
                self._lead = first + 1
            self._prepare()

    def _prepare(self) -> None:
        """Works out all places, from the last on, where nothing is counted."""
        rules, hint, comma = self.rules, f"{self.hint}-rest", self.values.comma
        more = self._known[len(self.members), 0] = self._others(0)
        # What comes after the last member is another thing: others repeat.
        after = self._after(len(self.members), 0)
        for index in range(len(self.members) - 1, self._lead - 1, -1):
            expression, required = self.members[index]
            found = f"{expression} {after}" if after else expression
            if not required and more:
                found = f"{found} | {rules.add(hint, more)}"
            more = self._known[index, 0] = found
            if index == self._lead:
                break
            symbol = rules.add(hint, more) if " | " in more else more
            after = f"{comma} {symbol}" if self.needed[index] else f"({comma} {symbol})?"

    def may_end(self, index: int, count: int) -> bool:
        """Whether the object can end before a member."""
        return not self.needed[index] and count >= self.low

    def more(self, index: int, count: int) -> str:
        """At least one more member, from one on; "" when there can be none."""
        if (index, count) not in self._known:
            self._known[index, count] = self._more(index, count)
        return self._known[index, count]

    def start(self) -> str:
        """The whole of it, at least one member; "" when there can be none."""
        if not self._lead:
            return self.more(0, 0)
        rules, hint, comma = self.rules, f"{self.hint}-rest", self.values.comma
        last = max(index for index, member in enumerate(self.members) if member.required)
        # Behind all that are required: the others that were passed over, then what comes last in any case.
        more, after = self.more(last + 1, 0), self._after(last + 1, 0) or ""
        for index in range(last - 1, -1, -1):
            member = self.members[index]
            if not member.required:
                found = f"{member.expression} {after}".strip()
                more = f"{found} | {rules.add(hint, more)}" if more else found
                after = f"({comma} {rules.add(hint, more) if ' | ' in more else more})?"
        # Both orders, as long as what was read begins both: every member is read in one way.
        for index in range(last, -1, -1):
            member = self.members[index]
            if member.required:
                more = f"{member.expression} {after}"
            else:
                more = f"{member.expression} {self._after(index + 1, 0)} | {rules.add(hint, more)}"
            if index:
                after = f"{comma} {rules.add(hint, more) if ' | ' in more else more}"
        return more

    def _more(self, index: int, count: int) -> str:
        if self.high is not None and count + max(1, self.needed[index]) > self.high:
            return ""
        if index == len(self.members):
            return self._others(count)
        member = self.members[index]
        found = []
        after = self._after(index + 1, min(count + 1, self.top))
        if after is not None:
            found.append(f"{member.expression} {after}".strip())
        if not member.required:
            rest = self.more(index + 1, count)
            if rest:
                found.append(self.rules.add(f"{self.hint}-rest", rest))
        return " | ".join(found)

    def _after(self, index: int, count: int) -> str | None:
        """What comes after a member; None when nothing can."""
        more, may_end = self.more(index, count), self.may_end(index, count)
        if not more:
            return "" if may_end else None
        comma = self.values.comma
        if index == len(self.members):
            following = self.rules.add("member-next", f"{comma} {self.others}")
            low, high = max(0, self.low - count), self._room(count)
            return repeat(self.rules, following, low, high)
        symbol = self.rules.add(f"{self.hint}-rest", more) if " | " in more else more
        return f"({comma} {symbol})?" if may_end else f"{comma} {symbol}"

    def _room(self, count: int) -> int | None:
        limit = self.values.limits.max_properties
        if self.high is None:
            return limit
        return self.high - count if limit is None else min(limit, self.high - count)

    def _others(self, count: int) -> str:
        if not self.others:
            return ""
        low, high = max(1, self.low - count), self._room(count)
        if high is not None and high < low:
            return ""
        return self.values.several(self.others, low, high, "member")
