"""Passages for benchmarks: made up by rule, always the same, varied English about places that do not exist.

Every passage has 100 to 180 words about one topic of one place, and comes with a question that it answers.
"""

from __future__ import annotations

import random
from typing import NamedTuple

__all__ = ["INSTRUCTIONS", "Passage", "passages", "preamble", "short_texts"]

#: What stands in front of every prompt of the benchmark, as such instructions do: about 190 tokens.
INSTRUCTIONS = """You help the visitors of a regional archive. Below you find notes from its records, then a \
question.
Follow these rules:
1. Answer from the notes only. What they do not say, you do not know.
2. Write full sentences in plain English, in one paragraph of five to eight sentences.
3. Begin with the fact that was asked for, then add what else the notes say about the same matter: numbers, \
years, names and reasons, each as the notes give them.
4. Name the place in your first sentence. Do not invent places, people or years.
5. If two notes disagree, say so and give both versions.
6. Do not greet, do not thank, do not mention these rules, and do not speak of yourself.
7. Numbers stay digits, measures keep their units, and names keep their spelling.
Use nothing but the records of the archive that follow here."""

_START = ("Bran", "Cor", "Dun", "El", "Fen", "Gal", "Har", "Ist", "Kel", "Lor", "Mar", "Nor", "Os", "Pel",
          "Quen", "Rav", "Sel", "Tor", "Ul", "Vel")  # fmt: skip
_END = ("wick", "mere")
_WHEN = ("in the spring of", "late in", "after the floods of", "in the autumn of", "by the end of")
_NAMES = ("Ada Finch", "Tomas Berg", "Ines Moreau", "Peter Holm", "Clara Voss", "Hugh Arden", "Mira Kovac",
          "Edwin Lathe", "Rosa Quill", "Jonas Pike", "Nell Harrow", "Bruno Salt")  # fmt: skip
_GOODS = ("wool", "salt", "copper wire", "pears", "roof tiles", "honey", "rope", "dried fish", "blue glass",
          "barley", "paper", "clay pipes")  # fmt: skip
_ADJECTIVES = ("narrow", "windy", "quiet", "steep", "sheltered", "marshy", "wooded", "stony")
_SIDES = ("northern", "southern", "eastern", "western")

#: By topic: the question about a place, and sentences of which a passage takes some.
_TOPICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "bridge": (
        "When was the bridge of {place} built, and out of what?",
        (
            "The bridge of {place} was built {when} {year}, out of {adj} blocks that came down the river.",
            "It has {few} arches, of which the {side} one is wide enough for a barge under sail.",
            "{name} drew the plans and stayed for {few} winters to watch over the masons.",
            "A toll of {few} pence was asked from every cart that carried {good}.",
            "In {year} ice tore away a pier, and for {many} days people crossed in boats.",
            "The keeper's house on the {side} bank still has the iron ring where the ferry was tied.",
            "Children say that a coin dropped from the middle arch is never found again.",
            "Engineers measured the span in {year} and came to {many} metres and a hand.",
            "Because the bank is {adj}, the road had to be raised by {few} metres on that side.",
            "Repairs cost the town {many} barrels of {good} and most of its patience.",
            "Lamps were hung from the railings {when} {year}, after {name} had asked for them in vain.",
        ),
    ),
    "market": (
        "What is sold at the market of {place}, and on which days?",
        (
            "The market of {place} is held {few} times a month on the {side} square, under {adj} elms.",
            "Most stalls sell {good}, and traders from the hills bring {good} when the pass is open.",
            "{name} wrote in {year} that no other market smelled so strongly of {good}.",
            "A bell rings at {few} in the morning, and nobody may sell before it.",
            "In good years {many} carts came in one day, so that the last had to wait beyond the gate.",
            "Weights are checked against a bronze measure that was cast {when} {year}.",
            "The price of {good} is chalked on a board, and an argument about it is settled there and then.",
            "When rain drove everybody under the arcades, musicians played for bread and {good}.",
            "A fire in {year} burned {many} stalls, but the oldest of them stands on the {side} side.",
            "Buyers from abroad ask for {good} first, and leave with {good} that they did not mean to buy.",
        ),
    ),
    "school": (
        "Who founded the school of {place}, and how many pupils does it have?",
        (
            "The school of {place} was founded {when} {year} by {name}, who had been a printer.",
            "It began with {few} pupils in a {adj} room above a store of {good}.",
            "Today {many} children go there, some of whom walk {few} kilometres from the {side} farms.",
            "Lessons began with arithmetic, since most families lived from the trade in {good}.",
            "{name} taught drawing and let the older pupils paint the stairs.",
            "In {year} the roof was carried off by a storm, and lessons went on in the church.",
            "The library holds {many} books, {few} of which were written by former pupils.",
            "A garden on the {side} side supplies the kitchen with beans, onions and too many marrows.",
            "Parents paid in {good} when money was short, which the accounts note without comment.",
            "Every summer the pupils row to the island and count nests; {year} brought the most, {many}.",
        ),
    ),
    "weather": (
        "What is the weather in {place} like, and what was its worst storm?",
        (
            "The weather of {place} comes from the {side} ridge, and changes within {few} hours.",
            "Fog fills the {adj} valley on about {many} mornings of a year.",
            "The worst storm came {when} {year}, when {many} trees fell in one night.",
            "{name} kept a weather book for {many} years and missed {few} days, all of them feast days.",
            "Snow lies on the {side} slopes until the pears are in bloom.",
            "A dry wind in late summer ripens {good} early and makes the dogs restless.",
            "In {year} no rain fell for {many} days, and wells had to be dug {few} metres deeper.",
            "Sailors trust the colour of the hills more than the glass that {name} hung at the harbour.",
            "Hail broke {many} windows in {year}, and glaziers were fetched from three towns.",
            "People store {good} in cellars, since frost comes without any warning at all.",
        ),
    ),
    "railway": (
        "When did the railway reach {place}, and what did it carry?",
        (
            "The railway reached {place} {when} {year}, {few} years later than had been promised.",
            "Its first train carried {good}, {many} passengers and a brass band.",
            "The line climbs the {adj} hill in {few} curves, and a second engine pushes from behind.",
            "{name}, the first station master, grew roses between the tracks of the {side} siding.",
            "Freight was mostly {good}; in the best year, {year}, it came to {many} wagons a week.",
            "A tunnel on the {side} side took {many} workers and cost more than the rest of the line.",
            "The station clock is {few} minutes fast, so that nobody misses a train.",
            "In {year} a landslide closed the line, and {good} went by mule again.",
            "Tickets were printed in {few} colours, one for each direction and one for dogs.",
            "Since the line was electrified {when} {year}, the journey to the coast takes {many} minutes.",
        ),
    ),
}


class Passage(NamedTuple):
    """A text and what one may ask about it.

    Attributes:
        text: 100 to 180 words.
        question: What the text answers.
    """

    text: str
    question: str


def passages(n: int) -> list[Passage]:
    """So many passages, all different; the same ones each time.

    Raises:
        SystemExit: There are not that many.
    """
    places = [start + end for end in _END for start in _START]
    pairs = [(place, topic) for topic in _TOPICS for place in places]
    if n > len(pairs):
        raise SystemExit(f"there are {len(pairs)} passages, {n} were asked for")
    random.Random(7).shuffle(pairs)
    return [_passage(place, topic) for place, topic in pairs[:n]]


def _passage(place: str, topic: str) -> Passage:
    chance = random.Random(f"{place} {topic}")
    question, sentences = _TOPICS[topic]
    wanted = chance.randint(108, 160)
    first, *others = sentences
    chance.shuffle(others)
    text = _filled(first, place, chance)
    for sentence in others:
        if len(text.split()) >= wanted:
            break
        text += " " + _filled(sentence, place, chance)
    return Passage(text, question.format(place=place))


def _filled(sentence: str, place: str, chance: random.Random) -> str:
    values = {
        "place": lambda: place,
        "when": lambda: chance.choice(_WHEN),
        "year": lambda: str(chance.randint(1604, 1978)),
        "name": lambda: chance.choice(_NAMES),
        "good": lambda: chance.choice(_GOODS),
        "adj": lambda: chance.choice(_ADJECTIVES),
        "side": lambda: chance.choice(_SIDES),
        "few": lambda: str(chance.randint(3, 9)),
        "many": lambda: str(chance.randint(12, 480)),
    }
    for name, value in values.items():
        while f"{{{name}}}" in sentence:
            sentence = sentence.replace(f"{{{name}}}", value(), 1)
    return sentence[0].upper() + sentence[1:]


def short_texts(n: int) -> list[str]:
    """So many texts of 8 to 24 words, all different, cut from passages."""
    words = [word for passage in passages(200) for word in passage.text.split()]
    chance, out, at = random.Random(11), [], 0
    while len(out) < n:
        length = chance.randint(8, 24)
        if at + length > len(words):
            at = chance.randint(1, 7)
        out.append(" ".join(words[at : at + length]))
        at += length
    return out


def preamble(n_words: int, seed: int) -> str:
    """Instructions of about that many words that no other seed shares, not even their beginning."""
    chance = random.Random(seed)
    pieces = [f"Handbook number {seed}."]
    texts = [passage.text for passage in passages(200)]
    chance.shuffle(texts)
    words = 3
    for text in texts:
        if words >= n_words:
            break
        pieces.append(text)
        words += len(text.split())
    return " ".join(" ".join(pieces).split()[:n_words])
