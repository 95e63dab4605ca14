"""BERT's tokenizer, exactly: the ids that the published models were trained with.

llama.cpp has a WordPiece tokenizer of its own, but it differs for Hangul, Indic scripts, words of over 100
characters and some control characters, and a few differing ids move a text's embedding far away. The
algorithm is the one of BERT's publication: clean the text, set Han characters apart, decompose (NFD) and
drop accents, lower the case, split at white space and punctuation, then cut each word greedily into the
longest pieces of the vocabulary; a word of more than 100 characters, or one that cannot be cut, is ``[UNK]``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from unicodedata import normalize

from llamacpp_core.errors import InvalidParameterError, ModelLoadError, ModelNotFoundError
from llamacpp_core.models.bert.unicode import CJK, MARKS, PUNCTUATION, REMOVED, SPACES
from llamacpp_core.models.gguf.header import GGUFArray, GGUFHeader, read_gguf_header

__all__ = ["WordPieceTokenizer"]

_MAX_WORD_CHARACTERS = 100
_MAX_CACHED_WORDS = 1 << 16
_CONTROL = 3
_WORD_START = "\u2581"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# lower-case forms that Unicode gained lately and that are letters of some vocabularies
_NEW_LOWER = {0xA7CB: "\u0264", 0xA7DC: "\u019b"}


class _Clean(dict[int, str]):
    """First pass: what each character becomes before decomposition, worked out when it is first met."""

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        if code_point in SPACES:
            character = " "
        elif code_point in REMOVED:
            character = ""
        elif code_point in CJK:
            character = f" {character} "
        self[code_point] = character
        return character


class _Fold(dict[int, str]):
    """Second pass: accents, case and punctuation of decomposed text."""

    def __init__(self, *, lowercase: bool, strip_accents: bool) -> None:
        super().__init__()
        self.lowercase = lowercase
        self.strip_accents = strip_accents

    def __missing__(self, code_point: int) -> str:
        folded = chr(code_point)
        if self.strip_accents and code_point in MARKS:
            folded = ""
        elif code_point in PUNCTUATION:
            folded = f" {folded} "
        elif self.lowercase:
            folded = _NEW_LOWER.get(code_point) or folded.lower()
        self[code_point] = folded
        return folded


class WordPieceTokenizer:
    """A WordPiece tokenizer over a BERT vocabulary. Safe to use from several threads.

    Args:
        vocabulary: The tokens in the order of their ids; ``##x`` continues a word.
        lowercase: Lower the case.
        strip_accents: Drop accents; None for as `lowercase`, which is BERT's rule.
        special_tokens: Tokens that text is searched for before anything else; the usual five when None.

    Attributes:
        vocabulary_size: Number of tokens.
        cls_id: Goes first in every sequence.
        sep_id: Goes last in every sequence.
        unk_id: Stands for a word that cannot be cut.
        pad_id: Fills up; None when the vocabulary has none.
        mask_id: The mask; None when the vocabulary has none.

    Raises:
        InvalidParameterError: The vocabulary lacks ``[CLS]``, ``[SEP]`` or ``[UNK]``.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        special_tokens: Iterable[str] | None = None,
    ) -> None:
        ids = {token: number for number, token in enumerate(vocabulary)}
        missing = [token for token in ("[CLS]", "[SEP]", "[UNK]") if token not in ids]
        if missing:
            raise InvalidParameterError(f"the vocabulary lacks {', '.join(missing)}", parameter="vocabulary")
        self.vocabulary_size = len(vocabulary)
        self.cls_id, self.sep_id, self.unk_id = ids["[CLS]"], ids["[SEP]"], ids["[UNK]"]
        self.pad_id, self.mask_id = ids.get("[PAD]"), ids.get("[MASK]")
        self._ids = ids
        self._longest = max(map(len, vocabulary))
        self._strip_accents = lowercase if strip_accents is None else strip_accents
        self._clean = _Clean()
        self._fold = _Fold(lowercase=lowercase, strip_accents=self._strip_accents)
        special = [
            token for token in (_SPECIAL if special_tokens is None else special_tokens) if token in ids
        ]
        self._special = {token: ids[token] for token in special}
        ordered = sorted(special, key=len, reverse=True)
        self._special_pattern = re.compile(f"({'|'.join(map(re.escape, ordered))})" if ordered else "(?!)")
        self._words: dict[str, tuple[int, ...]] = {}

    @classmethod
    def from_vocab(
        cls, path: str | os.PathLike[str], *, lowercase: bool = True, strip_accents: bool | None = None
    ) -> WordPieceTokenizer:
        """Builds it from a ``vocab.txt``, one token a line.

        Raises:
            ModelNotFoundError: There is no such file.
            ModelLoadError: It cannot be read as UTF-8.
            InvalidParameterError: It is not a BERT vocabulary.
        """
        try:
            text = Path(path).read_bytes().decode("utf-8")
        except FileNotFoundError:
            raise ModelNotFoundError(f"no such vocabulary: {path}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ModelLoadError(f"cannot read {path}: {error}", path=str(path)) from error
        tokens = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
        return cls(tokens, lowercase=lowercase, strip_accents=strip_accents)

    @classmethod
    def from_gguf(cls, model: str | os.PathLike[str] | GGUFHeader) -> WordPieceTokenizer:
        """Builds it from the metadata of a BERT model's GGUF file.

        Files without the normalizer's settings are taken for lower-casing ones, as llama.cpp does.

        Raises:
            ModelLoadError: It is not a GGUF file.
            InvalidParameterError: The model's tokenizer is not WordPiece.
        """
        header = model if isinstance(model, GGUFHeader) else read_gguf_header(model)
        tokens = header.metadata.get("tokenizer.ggml.tokens")
        if header.tokenizer_model != "bert" or not isinstance(tokens, GGUFArray):
            raise InvalidParameterError(
                f"{header.path} has the tokenizer {header.tokenizer_model!r}, not WordPiece ('bert')",
                parameter="model",
            )
        pieces = [str(token) for token in tokens.values()]
        given = header.metadata.get("tokenizer.ggml.token_type")
        kinds = given.values()[: len(pieces)] if isinstance(given, GGUFArray) else ()
        controls = {index for index, kind in enumerate(kinds) if kind == _CONTROL}
        vocabulary = [
            piece if index in controls or piece in _SPECIAL else _published(piece)
            for index, piece in enumerate(pieces)
        ]
        lowercase = header.metadata.get("tokenizer.ggml.normalizer.lowercase", True)
        strip_accents = header.metadata.get("tokenizer.ggml.normalizer.strip_accents")
        special = [vocabulary[index] for index in sorted(controls)] or None
        return cls(vocabulary, lowercase=lowercase, strip_accents=strip_accents, special_tokens=special)

    def encode(
        self,
        text: str,
        *,
        add_special_tokens: bool = True,
        parse_special: bool = True,
        max_tokens: int | None = None,
    ) -> list[int]:
        """The token ids of a text.

        Args:
            text: The text.
            add_special_tokens: Put ``[CLS]`` before and ``[SEP]`` after the text.
            parse_special: Take ``[MASK]`` and its like in the text for the special tokens, as the
                reference does; False takes them for ordinary text.
            max_tokens: Keep at most this many ids, the closing ``[SEP]`` among them; None keeps all.

        Raises:
            InvalidParameterError: `max_tokens` has no room for the special tokens.
        """
        if max_tokens is not None and max_tokens < (2 if add_special_tokens else 0):
            raise InvalidParameterError(
                f"max_tokens={max_tokens} has no room for [CLS] and [SEP]", parameter="max_tokens"
            )
        ids: list[int] = [self.cls_id] if add_special_tokens else []
        if parse_special and self._special_pattern.search(text):
            for part in self._special_pattern.split(text):
                special = self._special.get(part)
                if special is None:
                    self._append_ids(part, ids)
                else:
                    ids.append(special)
        else:
            self._append_ids(text, ids)
        if max_tokens is not None:
            del ids[max_tokens - (1 if add_special_tokens else 0) :]
        if add_special_tokens:
            ids.append(self.sep_id)
        return ids

    def encode_batch(
        self, texts: Iterable[str], *, parse_special: bool = True, max_tokens: int | None = None
    ) -> list[list[int]]:
        """The token ids of several texts; see :meth:`encode`."""
        return [self.encode(text, parse_special=parse_special, max_tokens=max_tokens) for text in texts]

    def words(self, text: str) -> list[str]:
        """The normalized words of a text, before they are cut into pieces."""
        text = text.translate(self._clean)
        if self._strip_accents and not text.isascii():
            text = normalize("NFD", text)
        return text.translate(self._fold).split()

    def _append_ids(self, text: str, ids: list[int]) -> None:
        known = self._words
        for word in self.words(text):
            pieces = known.get(word)
            ids.extend(self._cut(word) if pieces is None else pieces)

    def _cut(self, word: str) -> tuple[int, ...]:
        pieces = self._pieces(word)
        if len(self._words) >= _MAX_CACHED_WORDS:
            self._words = {}
        self._words[word] = pieces
        return pieces

    def _pieces(self, word: str) -> tuple[int, ...]:
        length = len(word)
        if length > _MAX_WORD_CHARACTERS:
            return (self.unk_id,)
        found: list[int] = []
        start = 0
        while start < length:
            prefix = "##" if start else ""
            end = min(length, start + self._longest)
            while end > start:
                token = self._ids.get(prefix + word[start:end])
                if token is not None:
                    break
                end -= 1
            else:
                return (self.unk_id,)
            found.append(token)
            start = end
        return tuple(found)


def _published(piece: str) -> str:
    """A token of a GGUF file as the published vocabulary writes it."""
    return piece[1:] if piece.startswith(_WORD_START) else f"##{piece}"
