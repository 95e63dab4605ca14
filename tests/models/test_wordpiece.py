from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from llamacpp_core.errors import InvalidParameterError, ModelLoadError, ModelNotFoundError
from llamacpp_core.models import WordPieceTokenizer

from .conftest import write_gguf

pytestmark = pytest.mark.network

TEXTS = [
    "",
    " ",
    "Hello, World!",
    "unbelievably preposterous antidisestablishmentarianism",
    "Caf\u00e9 na\u00efve \u00c5ngstr\u00f6m \u0130stanbul \u00dfharp \u1e9e \u01c5 \ufb01sh",
    "\u0395\u039b\u039b\u0397\u039d\u0399\u039a\u039f\u03a3 \u039f\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c2",
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5\uc785\ub2c8\ub2e4.",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0935\u093e\u0915\u094d\u092f",
    "\u0b95\u0bcd \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\u4e2d\u6587",
    "and\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \uf900\u2f00\U00020000\U0002b820\U0002b920",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "\u0420\u0443\u0441\u0441\u043a\u0438\u0439 \u0439",
    "\U0001f600 \U0001f469\u200d\U0001f4bb \u2764\ufe0f \U0001f1e9\U0001f1ea",
    "tab\tnew\nline\rreturn\x0bvertical\x0cfeed\x85next\xa0nbsp\u2028ls\u2029ps\u3000wide\u200bzero",
    "nul\x00 rep\ufffd soft\xadhyphen bom\ufeff private\ue000",
    "x" * 100,
    "x" * 101,
    "\u00e9" * 101 + " " + "e\u0301" * 100,
    "a" * 5000,
    "[CLS] [SEP] [MASK] [PAD] [UNK] a[MASK]b [mask] [MASK [[MASK]] [unused1]",
    "#hash ##ing ## # 100% $5.00 C++ C# a_b-c`d~e^f|g <tag/> \u20ac5 \u00a32 5\u00b0",
    "don't \u201cquote\u201d \u2013 dash \u2014 \u2026 \u00bfqu\u00e9? \u3002\uff01 \u2260 \u226e \u1fef",
    "\u1100\u1161\u11a8 \u302e\u302f\u0301 \U0001d165\U0001d16d a\u0328\u0301 a\u0301\u0328",
]


@pytest.fixture(scope="module")
def reference(minilm_package: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(minilm_package / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer(minilm_gguf: Path) -> WordPieceTokenizer:
    return WordPieceTokenizer.from_gguf(minilm_gguf)


def differing(tokenizer: WordPieceTokenizer, reference: Tokenizer, texts: list[str]) -> list[str]:
    expected = reference.encode_batch(texts)
    return [
        text for text, encoding in zip(texts, expected, strict=True) if tokenizer.encode(text) != encoding.ids
    ]


def test_texts(tokenizer: WordPieceTokenizer, reference: Tokenizer) -> None:
    assert differing(tokenizer, reference, TEXTS) == []


def test_every_code_point(tokenizer: WordPieceTokenizer, reference: Tokenizer) -> None:
    words = [f"a{chr(code)}b" for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    lines = [" ".join(words[start : start + 512]) for start in range(0, len(words), 512)]
    suspects = " ".join(differing(tokenizer, reference, lines)).split(" ")
    wrong = differing(tokenizer, reference, suspects)
    assert [hex(ord(text[1])) for text in wrong] == []


def test_random_mixtures(tokenizer: WordPieceTokenizer, reference: Tokenizer) -> None:
    ranges = [range(32, 127)] * 5 + [
        range(33),
        range(0xA0, 0x600),
        range(0x600, 0x2000),
        range(0x2000, 0x3100),
    ]
    ranges += [range(0xAC00, 0xAD00), range(0x4E00, 0x4F00), range(0x1D160, 0x1D180), range(0x1F300, 0x1F700)]
    numbers = random.Random(7)
    texts = [
        "".join(chr(numbers.choice(numbers.choice(ranges))) for _ in range(numbers.randrange(1, 50)))
        for _ in range(8000)
    ]
    assert differing(tokenizer, reference, texts) == []


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text(tokenizer: WordPieceTokenizer, reference: Tokenizer, text: str) -> None:
    assert tokenizer.encode(text) == reference.encode(text).ids
    bare = reference.encode(text, add_special_tokens=False).ids
    assert tokenizer.encode(text, add_special_tokens=False) == bare


@pytest.mark.parametrize(
    ("lowercase", "strip_accents"), [(True, False), (False, None), (False, True), (True, True)]
)
def test_other_settings(
    minilm_package: Path, reference: Tokenizer, lowercase: bool, strip_accents: bool | None
) -> None:
    from tokenizers.normalizers import BertNormalizer

    other = Tokenizer.from_str(reference.to_str())
    other.normalizer = BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer = WordPieceTokenizer.from_vocab(
        minilm_package / "vocab.txt", lowercase=lowercase, strip_accents=strip_accents
    )
    assert differing(tokenizer, other, TEXTS) == []


def test_vocabulary_and_gguf_agree(tokenizer: WordPieceTokenizer, minilm_package: Path) -> None:
    from_vocab = WordPieceTokenizer.from_vocab(minilm_package / "vocab.txt")
    assert from_vocab.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)
    assert from_vocab.vocabulary_size == tokenizer.vocabulary_size == 30522
    ids = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    assert ids == (0, 100, 101, 102, 103)


def test_special_tokens_as_text(tokenizer: WordPieceTokenizer) -> None:
    assert tokenizer.encode("[MASK]", add_special_tokens=False) == [103]
    assert tokenizer.encode("[MASK]", add_special_tokens=False, parse_special=False) == tokenizer.encode(
        "[ mask ]", add_special_tokens=False
    )


def test_truncation_keeps_the_end(tokenizer: WordPieceTokenizer) -> None:
    text = "one two three four five"
    whole = tokenizer.encode(text)
    assert tokenizer.encode(text, max_tokens=4) == [*whole[:3], 102]
    assert tokenizer.encode(text, max_tokens=len(whole)) == whole
    assert tokenizer.encode(text, max_tokens=2) == [101, 102]
    assert tokenizer.encode(text, add_special_tokens=False, max_tokens=2) == whole[1:3]
    assert tokenizer.encode_batch([text, "x"], max_tokens=3)[0] == [*whole[:2], 102]
    with pytest.raises(InvalidParameterError, match="max_tokens=1 has no room"):
        tokenizer.encode(text, max_tokens=1)


def test_lone_surrogates_are_dropped(tokenizer: WordPieceTokenizer) -> None:
    assert tokenizer.encode("a\ud800b") == tokenizer.encode("ab")


def test_speed(tokenizer: WordPieceTokenizer, reference: Tokenizer) -> None:
    vocabulary = [reference.id_to_token(number) for number in range(2000, 12_000)]
    numbers = random.Random(3)
    text = " ".join(numbers.choice(vocabulary) + numbers.choice(["", ",", ".", "'s"]) for _ in range(60_000))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        tokenizer.encode(text)
        seconds.append(time.perf_counter() - start)
    assert len(text.encode()) / 1e6 / min(seconds) > 0.5


@pytest.mark.parametrize("missing", ["[CLS]", "[SEP]", "[UNK]"])
def test_a_vocabulary_of_another_kind(missing: str) -> None:
    tokens = [token for token in ("[PAD]", "[CLS]", "[SEP]", "[UNK]", "a") if token != missing]
    with pytest.raises(InvalidParameterError, match=f"lacks \\{missing}"):
        WordPieceTokenizer(tokens)


def test_a_gguf_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="has the tokenizer 'gpt2', not WordPiece"):
        WordPieceTokenizer.from_gguf(write_gguf(tmp_path / "m.gguf"))


@pytest.mark.parametrize(
    ("content", "error"),
    [(None, ModelNotFoundError), (b"\xff\xfe", ModelLoadError), (b"a\nb", InvalidParameterError)],
)
def test_broken_vocabulary_files(tmp_path: Path, content: bytes | None, error: type[Exception]) -> None:
    path: Any = tmp_path / "vocab.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error):
        WordPieceTokenizer.from_vocab(path)


@pytest.mark.parametrize("more", [-2, 3])
def test_types_of_more_or_fewer_tokens_than_there_are(tmp_path: Path, more: int) -> None:
    from fuzz.files import encoder

    file, path = encoder(), tmp_path / "encoder.gguf"
    path.write_bytes(file.pack())
    expected = WordPieceTokenizer.from_gguf(path).encode("the a b")
    types = next(entry for entry in file.entries if entry.key == "tokenizer.ggml.token_type")
    element, kinds = types.value
    types.value = (element, [*kinds, *[3] * more] if more > 0 else kinds[:more])
    path.write_bytes(file.pack())
    assert WordPieceTokenizer.from_gguf(path).encode("the a b") == expected
