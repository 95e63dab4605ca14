"""JSON strings under ``pattern``, ``format`` and length bounds, as grammar rules."""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache

from llamacpp_core.grammar.automaton import Dfa, determinize
from llamacpp_core.grammar.charset import Ranges, gbnf_literal, json_text_of
from llamacpp_core.grammar.nfa import Nfa
from llamacpp_core.grammar.partial import Partial, plain, unroll_circles
from llamacpp_core.grammar.pattern import Anchor, Cat, Lookahead, Node, PatternError, parse_pattern
from llamacpp_core.grammar.rules import ATOM, MAX_REPETITIONS, repeat

__all__ = ["CHAR_RULE", "PREFIX", "bounded_rules", "dfa_rules", "pattern_dfa", "quoted"]

_MAX_COUNTED = 1200
#: Code points that each place should have room for, if need be with fewer rounds: those of a long word.
_WORD = 32
#: How often an automaton may go round its circles of several states, the first that leaves room enough.
_ROUNDS = (16, 8, 4, 2, 1, 0)

#: One code point of a JSON string in any spelling that RFC 8259 allows, surrogates only in pairs.
CHAR_RULE = (
    r"[ !#-\[\]-~\x80-\uD7FF\uE000-\U0010FFFF] | "
    r'"\\" (["\\/bfnrt] | "u" ([0-9abcefABCEF] [0-9a-fA-F]{3} | [dD] ([0-7] [0-9a-fA-F]{2} | '
    r'[89abAB] [0-9a-fA-F]{2} "\\u" [dD] [c-fC-F] [0-9a-fA-F]{2})))'
)
#: Stands for the prefix of rule names; cannot occur in grammar text otherwise.
PREFIX = "\x01"


@lru_cache(maxsize=1024)
def pattern_dfa(pattern: str, *, wide: bool = False) -> Dfa:
    """The automaton of all strings in which a pattern is found.

    Args:
        pattern: A regular expression as JSON Schema defines them.
        wide: Where dialects differ, whatever matches in one of them, not what matches in all.

    Raises:
        PatternError: When the pattern is malformed, not supported or too large.
    """
    return _node_dfa(parse_pattern(pattern, wide=wide))


@lru_cache(maxsize=1024)
def _node_dfa(node: Node) -> Dfa:
    """Most patterns mean the same in all dialects."""
    looks, rest = _leading_lookaheads(node)
    dfa = determinize(Nfa(rest, search=not looks))
    for look in looks:
        ahead = determinize(Nfa(look.item, search=False))
        dfa = dfa.intersect(ahead.complement() if look.negated else ahead)
    return dfa


def _leading_lookaheads(node: Node) -> tuple[list[Lookahead], Node]:
    if not isinstance(node, Cat) or len(node.items) < 2 or node.items[0] != Anchor(at_end=False):
        return [], node
    looks = []
    for item in node.items[1:]:
        if not isinstance(item, Lookahead):
            break
        looks.append(item)
    return (looks, Cat(node.items[1 + len(looks) :])) if looks else ([], node)


@lru_cache(maxsize=512)
def bounded_rules(
    dfa: Dfa, low: int, high: int | None, limit: int | None
) -> tuple[str, dict[str, str]] | None:
    """Rules for the inside of a JSON string that an automaton accepts, with bounds on its length.

    Small automata are counted through exactly. In others, and where only ``limit`` sets an end, each place
    where the automaton can stay gets a bound of its own, so that all together keep to it.

    Args:
        dfa: The automaton.
        low: Fewest code points.
        high: Most code points, or None.
        limit: Where neither the automaton nor ``high`` sets an end, the most code points that any one place
            may take; None for no end.

    Returns:
        As :func:`dfa_rules`; None when no string is left.
    """
    counted = dfa.with_length(low, high, _MAX_COUNTED) if high is not None else None
    if counted is not None:
        dfa = counted
    elif low > dfa.shortest[0]:
        longer = dfa.with_length(low, None)
        if longer is None:
            raise PatternError(f"too many states for strings of at least {low} characters; lower minLength")
        dfa = longer
    if dfa.is_empty or (high is not None and dfa.shortest[0] > high):
        return None
    dfa = dfa.minimize()
    if dfa.longest[0] <= (float("inf") if high is None and limit is None else high or float("inf")) and (
        high is not None or dfa.longest[0] < float("inf") or limit is None
    ):
        return dfa_rules(dfa)
    return _looping_rules(dfa, high, limit)


def _looping_rules(dfa: Dfa, high: int | None, limit: int | None) -> tuple[str, dict[str, str]]:
    """Rules of an automaton with a bound at each place where it can stay."""
    numbers = [rounds for rounds in _ROUNDS if not rounds or len(dfa.delta) * rounds <= _MAX_COUNTED]
    if high is None:
        assert limit is not None
        return _Renderer(unroll_circles(dfa, numbers[0]), limit).render()
    found = _with_room(dfa, numbers[0], high)
    if found is None or found[0] < _WORD:
        # Fewer rounds leave at least as much room: where none leaves too little, so do all.
        most = (_with_room(dfa, 0, high) or found) if numbers[0] else found
        # An automaton that counts has at most as many states as this product, and rarely less than half.
        countable = len(dfa.delta) * high <= 4 * _MAX_COUNTED
        if countable and (most is None or most[0] < _WORD):
            counted = dfa.with_length(0, high, 2 * _MAX_COUNTED)
            if counted is not None:
                return dfa_rules(counted)
        if most is None:
            raise PatternError(f"too many states for strings of up to {high} characters; lower maxLength")
        wanted = min(most[0], _WORD)
        if found is None or found[0] < wanted:
            made: dict[int, tuple[int, Partial] | None] = {0: most}

            def is_enough(rounds: int) -> bool:
                made[rounds] = some = _with_room(dfa, rounds, high)
                return some is not None and some[0] >= wanted

            between = numbers[1:-1]
            found = made[numbers[1 + bisect_left(between, True, key=is_enough)]] or most
    return _Renderer(found[1], found[0]).render()


def _with_room(dfa: Dfa, rounds: int, high: int) -> tuple[int, Partial] | None:
    """How often an automaton of so many rounds may stay at each place, and it; None where it is too long."""
    unrolled = unroll_circles(dfa, rounds)
    room = unrolled.room(high)
    if room is not None and room < _WORD:
        # Words need the room more than what is between them.
        unrolled.loops = {state: some for state, some in unrolled.loops.items() if not _is_blank(some)}
        room = unrolled.room(high)
    return None if room is None else (room, unrolled)


def _is_blank(ranges: Ranges) -> bool:
    """Whether all code points are white space."""
    return sum(high - low for low, high in ranges) < 50 and all(
        chr(code_point).isspace() for low, high in ranges for code_point in range(low, high + 1)
    )


def dfa_rules(dfa: Dfa) -> tuple[str, dict[str, str]]:
    """Rules for the inside of a JSON string whose value an automaton accepts.

    Args:
        dfa: An automaton that accepts at least one string.

    Returns:
        The expression to start with and the rules it needs; every rule name begins with :data:`PREFIX`,
        to be replaced by a prefix that is unique within a grammar.
    """
    if dfa.is_empty:
        raise PatternError("no string can match")
    return _Renderer(plain(dfa), 0).render()


class _Renderer:
    """Writes the rules of a partial automaton.

    Args:
        partial: The automaton.
        most: How often it may stay at each place where it can.
    """

    def __init__(self, partial: Partial, most: int) -> None:
        self.accepting = partial.accepting
        self.edges: dict[int, list[tuple[int, Ranges]]] = {}
        self.loops = partial.loops if most else {}
        self.most = most
        self.uses: dict[int, int] = {0: 1}
        self.rules: dict[str, str] = {}
        self.classes: dict[Ranges, str] = {}
        # By their identity: they are many equal ones, and long to compare.
        self.symbols: dict[int, str] = {}
        self.sequences: dict[int, str] = {}
        self.todo: list[int] = []
        self.queued: set[int] = set()
        todo = [0]
        uses = self.uses
        for state in todo:
            following = partial.edges[state]
            self.edges[state] = list(following.items())
            for target in following:
                known = uses.get(target)
                if known is None:
                    todo.append(target)
                    uses[target] = 1
                else:
                    uses[target] = known + 1

    def render(self) -> tuple[str, dict[str, str]]:
        start = self._sequence(0)
        for state in self.todo:
            self.rules[self._name(state)] = self._body(state)
        return start, self.rules

    def add(self, hint: str, body: str) -> str:
        """A rule of its own for a part of what is written."""
        name = f"{PREFIX}{hint}{len(self.rules)}"
        self.rules[name] = body
        return name

    def _repeated(self, symbol: str, low: int, high: int) -> str:
        """A symbol several times, in blocks where there are more than llama.cpp counts."""
        if high > MAX_REPETITIONS:
            return repeat(self, symbol, low, high)
        return f"{symbol}{{{high}}}" if low == high else f"{symbol}{{{low},{high}}}"

    def _name(self, state: int) -> str:
        return f"{PREFIX}{state}"

    def _ref(self, state: int) -> str:
        if state not in self.queued:
            self.queued.add(state)
            self.todo.append(state)
        return self._name(state)

    def _body(self, state: int) -> str:
        if state in self.loops:
            stay = f"{PREFIX}m{len(self.rules)}"
            self.rules[stay] = self._repeated(self._class(self.loops[state]), 0, self.most)
            if not self.edges[state]:
                return stay
            return f"{stay} ({self._choice(state)})"
        run = self._optional_run(state)
        if run is not None:
            return run
        return self._choice(state)

    def _choice(self, state: int) -> str:
        alternatives = []
        sequences, symbols = self.sequences, self.symbols
        for target, ranges in self.edges[state]:
            follow = sequences.get(target)
            if follow is None:
                follow = sequences[target] = self._sequence(target)
            symbol = symbols.get(id(ranges)) or self._class(ranges)
            alternatives.append(f"{symbol} {follow}" if follow else symbol)
        return " | ".join([*alternatives, '""'] if self.accepting[state] else alternatives)

    def _optional_run(self, state: int) -> str | None:
        """``C{0,n}`` when up to n code points of one class may follow and then nothing.

        Only where nothing else leads into the run: llama.cpp expands it into n rules.
        """
        count = 0
        ranges: Ranges | None = None
        while (
            self.accepting[state]
            and len(self.edges[state]) == 1
            and count < MAX_REPETITIONS - 1
            and state not in self.loops
        ):
            target, here = self.edges[state][0]
            if here != (ranges or here) or (self.uses[target] > 1 and self.edges[target]):
                return None
            ranges, state, count = here, target, count + 1
        if ranges is None or self.edges[state] or not self.accepting[state] or state in self.loops:
            return None
        return self._class(ranges) + ("?" if count == 1 else f"{{0,{count}}}")

    def _sequence(self, state: int) -> str:
        """What has to come from a state on, up to the next state that needs a rule.

        A state needs none when one thing leads there and it goes on in one way. Such states form no cycle:
        the state where a cycle is entered has two uses.
        """
        parts: list[tuple[str, int]] = []
        while self.edges[state] or state in self.loops:
            if state in self.loops:
                return self._join([*parts, (self._ref(state), 1)])
            run = self._optional_run(state) if self.uses[state] == 1 else None
            if run is not None:
                return self._join([*parts, (run, 1)])
            if self.uses[state] > 1 or len(self.edges[state]) > 1 or self.accepting[state]:
                return self._join([*parts, (self._ref(state), 1)])
            state, ranges = self.edges[state][0]
            symbol = self._class(ranges)
            count = parts.pop()[1] if parts and parts[-1][0] == symbol else 0
            parts.append((symbol, count + 1))
        return self._join(parts)

    def _class(self, ranges: Ranges) -> str:
        """A single symbol for how a code point of the set is written inside a JSON string."""
        symbol = self.symbols.get(id(ranges))
        if symbol is not None:
            return symbol
        symbol = self.classes.get(ranges)
        if symbol is None:
            alternatives = json_text_of(ranges)
            symbol = alternatives[0]
            if len(alternatives) > 1 or not ATOM.fullmatch(symbol):
                symbol = f"{PREFIX}c{len(self.classes)}"
                self.rules[symbol] = " | ".join(alternatives)
            self.classes[ranges] = symbol
        self.symbols[id(ranges)] = symbol
        return symbol

    def _join(self, parts: list[tuple[str, int]]) -> str:
        """Symbols in a row, each an atom or one that is repeated; literals next to each other become one."""
        if len(parts) == 1 and parts[0][1] == 1:
            return parts[0][0]
        texts: list[str] = []
        for symbol, count in parts:
            if symbol.startswith('"') and symbol.endswith('"'):
                inner = symbol[1:-1] * count
                if texts and texts[-1].startswith('"') and texts[-1].endswith('"'):
                    texts[-1] = texts[-1][:-1] + inner + '"'
                else:
                    texts.append(f'"{inner}"')
            else:
                texts.append(symbol if count == 1 else self._repeated(symbol, count, count))
        return " ".join(texts)


def quoted(inside: str) -> str:
    """A JSON string with the given expression inside."""
    quote = gbnf_literal('"')
    return f"{quote} {inside} {quote}" if inside else f"{quote} {quote}"
