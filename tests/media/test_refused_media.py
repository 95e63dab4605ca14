"""Damaged and huge media, addresses, and texts that look like media: typed errors that name the part."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from media_files import picture, png, sound, wav

from llamacpp_core import (
    ContextOverflowError,
    GenerationError,
    InvalidMessageError,
    Llama,
    UnsupportedCapabilityError,
)

TEXT = {"type": "text", "text": "What is it?"}
SMALL = picture(png(20, 20))


def ask(llm: Llama, *parts: Any, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = llm.create_chat_completion(
        [{"role": "user", "content": list(parts)}], **{"max_tokens": 2, **options}
    )
    return answer


def at(url: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:1/x.png",
        "https://example.com/a.png",
        "file:///etc/hostname",
        "/etc/hostname",
        "data:text/plain;base64,AAAA",
        "data:;base64,AAAA",
        "data:image/a,b;base64,AAAA",
        "data:image/png,;base64,AAAA",
        "data:image/png;base64,",
        "data:image/png;base64,AA\nAA",
        "data:image/png;base64,AAAA;base64,AAAA",
        b"data:image/png;base64,AAAA",
        5,
        None,
        {},
    ],
)
def test_only_data_urls_are_read(seeing: Llama, url: Any) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        ask(seeing, TEXT, at(url))
    assert caught.value.parameter == "messages[0].content[1].image_url.url"


def test_data_urls_in_other_spellings(seeing: Llama) -> None:
    data = SMALL["image_url"]["url"].partition(",")[2]
    for head in (
        "DATA:IMAGE/PNG;BASE64,",
        "data:image/png;name=a.png;base64,",
        "data:image/x-unknown;base64,",
    ):
        ask(seeing, at(head + data), TEXT)


def bmp(width: int, height: int) -> bytes:
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + head


GOOD = png(100, 60)
DAMAGED = {
    "text": b"hello",
    "one byte": b"\x89",
    "its header cut": GOOD[:20],
    "no pixels": png(1, 1, says=(0, 0)),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "WebP": b"RIFF\x10\0\0\0WEBPVP8 " + b"\0" * 20,
    "PNM": b"P6 2 2 255\n" + b"\0" * 12,
    "a sound": wav(0.1),
    "JPEG without a frame": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + b"\0" * 20,
    "BMP of the largest size": bmp(2**31 - 1, 2**31 - 1),
    "PNG of 900 million pixels": png(1, 1, says=(30_000, 30_000)),
    "GIF of 4 thousand million": b"GIF89a" + b"\xff" * 4 + b"\0\0\0",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_pictures_that_cannot_be_read(seeing: Llama, kind: str) -> None:
    with pytest.raises(InvalidMessageError, match=r"PNG, JPEG, GIF or BMP|at most 67108864") as caught:
        ask(seeing, TEXT, SMALL, picture(DAMAGED[kind]))
    assert caught.value.parameter == "messages[0].content[2]"
    assert caught.value.index == 0


@pytest.mark.parametrize("data", [GOOD[:200], GOOD[:-40], png(1, 1, says=(3000, 3000))])
def test_pictures_that_break_off(seeing: Llama, data: bytes) -> None:
    with pytest.raises(InvalidMessageError, match="a picture or a sound in them cannot be read"):
        ask(seeing, TEXT, picture(data))


def test_many_large_pictures_together(seeing: Llama) -> None:
    large = picture(png(1, 1, says=(8192, 8192)))
    with pytest.raises(InvalidMessageError, match="together") as caught:
        ask(seeing, *[large] * 6)
    assert caught.value.parameter == "messages[0].content[4]"


def test_pictures_of_any_shape(seeing: Llama) -> None:
    gif = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
    for data in (png(1, 1), png(1, 8000), png(8000, 1), png(1500, 1200), gif):
        ask(seeing, picture(data), TEXT)


def slow(rate: int) -> bytes:
    """A short file that says that it lasts long."""
    out = bytearray(wav(1))
    out[24:28] = struct.pack("<I", rate)
    return bytes(out)


SOUNDS = {
    "text": b"hello, this is text",
    "its header cut": wav(1)[:30],
    "a picture": png(5, 5),
    "no rate": slow(0),
    "one sample a second": slow(1),
    "MP3 without a frame": b"\xff\xfb\x90\0" + b"\0" * 3,
    "FLAC without a frame": b"fLaC" + b"\0" * 100,
}


@pytest.mark.parametrize("kind", SOUNDS)
def test_sounds_that_cannot_be_read(hearing: Llama, kind: str) -> None:
    with pytest.raises(InvalidMessageError, match=r"WAV, MP3 or FLAC|3600 seconds") as caught:
        ask(hearing, TEXT, sound(SOUNDS[kind]))
    assert caught.value.parameter == "messages[0].content[1]"


@pytest.mark.parametrize("data", [b"AAAA", "http", "AA AA", "", 5, None])
def test_what_is_no_base64(hearing: Llama, data: Any) -> None:
    """Base64 that begins with "http" is data, too, and not an address."""
    part = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    with pytest.raises(InvalidMessageError) as caught:
        ask(hearing, part)
    assert str(caught.value.parameter).startswith("messages[0].content[0]")


@pytest.mark.parametrize(("seconds", "n"), [(0.0002, 1), (1, 1), (29, 1), (31, 2)])
def test_tokens_of_a_sound(hearing: Llama, seconds: float, n: int) -> None:
    part = sound(wav(seconds))
    one, two = (ask(hearing, *[part] * k, TEXT)["usage"]["prompt_tokens"] for k in (1, 2))
    assert two - one == 75 * n


def test_models_without_eyes_or_ears(llm: Llama, seeing: Llama, hearing: Llama) -> None:
    for model, part in ((llm, SMALL), (llm, sound(wav(0.1))), (seeing, sound(wav(0.1))), (hearing, SMALL)):
        with pytest.raises(UnsupportedCapabilityError, match="mmproj=") as caught:
            ask(model, TEXT, part)
        assert caught.value.parameter == "messages[0].content[1]"


def test_pictures_beyond_the_context(seeing: Llama) -> None:
    with pytest.raises(ContextOverflowError, match="n_ctx") as caught:
        ask(seeing, *[SMALL] * 130)
    assert caught.value.n_prompt_tokens > 130 * 16


def test_a_step_that_is_too_small(smollm2_path: Path, projector: Callable[[str], Path]) -> None:
    """Pictures whose tokens see one another; other requests go on."""
    with Llama(smollm2_path, n_ctx=512, n_batch=64, n_ubatch=2, mmproj=projector("gemma3")) as llm:
        with pytest.raises(GenerationError, match="n_ubatch"):
            ask(llm, SMALL, TEXT)
        assert ask(llm, TEXT)["usage"]["completion_tokens"] == 2


def test_a_vocabulary_without_the_projectors_tokens(
    smollm2_path: Path, projector: Callable[[str], Path]
) -> None:
    with Llama(smollm2_path, n_ctx=512, mmproj=projector("idefics3")) as llm:
        with pytest.raises(InvalidMessageError, match="projector does not belong to this model"):
            ask(llm, SMALL, TEXT)
        assert ask(llm, TEXT)["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("safe", [True, False])
def test_the_marker_in_a_text_is_text(
    smollm2_path: Path, projector: Callable[[str], Path], safe: bool
) -> None:
    with Llama(smollm2_path, n_ctx=512, mmproj=projector("mlp"), safe_prompts=safe) as llm:
        marker = llm._engine.info["media_marker"]
        text = {"type": "text", "text": f"{marker} and {marker}"}
        n = [ask(llm, *parts)["usage"]["prompt_tokens"] for parts in ((SMALL, text), (text, SMALL), (text,))]
    assert min(n[:2]) >= n[2] + 16
    assert abs(n[0] - n[1]) <= 2


DOCUMENTS = "{% for m in messages %}{{ m.content }}{% endfor %}{{ documents[0].url }}{{ documents[0].type }}"


@pytest.mark.parametrize("key", ["url", "type"])
def test_control_tokens_in_documents_beside_a_picture(
    smollm2_path: Path, projector: Callable[[str], Path], key: str
) -> None:
    with Llama(smollm2_path, n_ctx=512, mmproj=projector("mlp"), chat_template=DOCUMENTS) as llm:
        n = []
        for text in ("a", "<|im_end|>" * 5):
            kwargs = {"documents": [{"url": "a", "type": "a"} | {key: text}]}
            n.append(ask(llm, SMALL, TEXT, chat_template_kwargs=kwargs)["usage"]["prompt_tokens"])
    assert n[1] - n[0] >= 15


def test_base64_is_sent_as_it_is(seeing: Llama) -> None:
    """A large file costs no walk through control tokens that would change it."""
    noise = base64.b64encode(bytes(range(256)) * 40).decode()
    with pytest.raises(InvalidMessageError, match="no picture"):
        ask(seeing, at(f"data:image/png;base64,{noise}"))
