"""The page to chat in, in a real browser."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from server.scripted import ScriptedModel

from llamacpp_integrations.server import ServerSettings, create_app, serving

if TYPE_CHECKING:
    from server.conftest import Served

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path, "no Chromium is installed: leave these tests out with -m 'not browser'"
    with sync_playwright() as playwright:
        with_no_sandbox = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield with_no_sandbox
        with_no_sandbox.close()


@pytest.fixture(scope="module")
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture(scope="module")
def url(model: ScriptedModel) -> Iterator[str]:
    with serving(create_app({"scripted": model, "second": model})) as address:  # type: ignore[dict-item]
        yield address


@pytest.fixture
def open_page(browser: Browser, url: str) -> Iterator[OpenPage]:
    """Opens the page in a fresh profile; an error in its code fails the test."""
    contexts, errors = [], []

    def open_it(address: str = url, **settings: Any) -> Page:
        context = browser.new_context(accept_downloads=True, **settings)
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert errors == []


def ask(page: Page, text: str) -> None:
    page.fill("#prompt", text)
    page.press("#prompt", "Enter")


def answered(page: Page, count: int = 1) -> None:
    expect(page.locator("article.assistant")).to_have_count(count, timeout=60_000)
    expect(page.locator("#stop")).to_be_hidden(timeout=60_000)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_answer_in_markdown_cannot_bring_html(open_page: OpenPage) -> None:
    page = open_page()
    ask(page, "think about planets")
    answered(page)
    body = page.locator("article.assistant .body")
    expect(body.locator("strong")).to_have_text("what")
    expect(body.locator("td").first).to_have_text("Mars")
    expect(body.locator("pre code")).to_have_text('print("a < b")')
    expect(body.locator("script")).to_have_count(0)
    assert body.locator("a").evaluate_all("links => links.map(link => link.href)") == ["https://example.org/"]
    reasoning = page.locator("details.reasoning")
    assert reasoning.get_attribute("open") is None
    reasoning.locator("summary").click()
    expect(reasoning).to_contain_text("First I look at the question.")
    expect(page.locator("article.assistant .actions")).to_contain_text("123.4 tokens/s")
    expect(page.locator("#context-text")).to_have_text("1024 of 4096 tokens")


def test_settings_go_into_the_request_and_stay(open_page: OpenPage, model: ScriptedModel) -> None:
    page = open_page()
    page.keyboard.press("Alt+s")
    page.fill("#system", "Be brief.")
    page.fill("#temperature", "0.5")
    page.fill("#max_tokens", "7")
    page.check("#json")
    page.fill("#schema", "{bad")
    expect(page.locator("#schema")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#schema-problem")).to_be_visible()
    page.fill("#schema", '{"type": "object"}')
    expect(page.locator("#schema-problem")).to_be_hidden()
    page.fill("#tools", '[{"name": "look"}]')
    page.keyboard.press("Escape")
    expect(page.locator("#settings")).to_be_hidden()
    expect(page.locator("#modes")).to_have_text("JSON1 tools")
    page.reload()
    expect(page.locator("#model option")).to_have_count(2)
    page.select_option("#model", "second")
    ask(page, "json please")
    answered(page)
    asked = model.asked[-1]
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("second", 0.5, 7)
    assert asked["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert asked["tools"] == [{"type": "function", "function": {"name": "look"}}]
    shown = page.locator("article.assistant pre").inner_text()
    assert json.loads(shown) == {"name": "Rome", "population": 2_800_000}
    assert "\n" in shown.strip()


def test_stop_frees_the_slot_and_keeps_the_text(open_page: OpenPage, model: ScriptedModel) -> None:
    page = open_page()
    ask(page, "slow")
    expect(page.locator("article.assistant .body")).to_contain_text("3", timeout=60_000)
    page.keyboard.press("Escape")
    answered(page)
    expect(page.locator("article.assistant .actions")).to_contain_text("stopped")
    until(lambda: model.running == 0)
    ask(page, "slow again")
    page.click("#stop")
    answered(page, 2)
    until(lambda: model.running == 0)


def test_edit_and_try_again(open_page: OpenPage, model: ScriptedModel) -> None:
    page = open_page()
    ask(page, "first question")
    answered(page)
    page.get_by_role("button", name="Try again").click()
    answered(page)
    ask(page, "second question")
    answered(page, 2)
    page.press("#prompt", "ArrowUp")
    page.fill("textarea.edit", "a better second")
    page.press("textarea.edit", "Enter")
    answered(page, 2)
    assert [m["content"] for m in model.asked[-1]["messages"] if m["role"] == "user"] == [
        "first question",
        "a better second",
    ]
    expect(page.locator("article.user")).to_have_count(2)


def test_calls_are_shown_and_their_results_go_back(open_page: OpenPage, model: ScriptedModel) -> None:
    page = open_page()
    ask(page, "use tools")
    answered(page)
    call = page.get_by_label("Call of get_weather")
    expect(call).to_contain_text('"city": "Rome"')
    call.get_by_label("Result").fill("22 degrees")
    page.get_by_role("button", name="Send results").click()
    answered(page, 2)
    *_, assistant, tool = model.asked[-1]["messages"]
    assert assistant["tool_calls"][0]["function"]["name"] == "get_weather"
    assert tool == {"role": "tool", "content": "22 degrees", "tool_call_id": "call_1"}


def test_files_become_part_of_the_message(open_page: OpenPage, model: ScriptedModel, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("The Moon turns once in 27.3 days.\n```\n")
    (tmp_path / "picture.bin").write_bytes(b"\0\1\2")
    page = open_page()
    page.set_input_files("#attach", [tmp_path / "notes.txt", tmp_path / "picture.bin"])
    expect(page.locator("#files li")).to_have_count(1)
    expect(page.locator("#problem")).to_have_text("picture.bin is no text.")
    ask(page, "What is in it?")
    answered(page)
    text = model.asked[-1]["messages"][-1]["content"]
    assert text == "File notes.txt:\n````\nThe Moon turns once in 27.3 days.\n```\n````\n\nWhat is in it?"


def test_history_stays_in_the_browser(open_page: OpenPage) -> None:
    page = open_page()
    for title in ("one chat", "another chat"):
        page.keyboard.press("Alt+n")
        ask(page, title)
        answered(page)
    page.reload()
    chats = page.locator("#chats button[title]")
    expect(chats).to_have_text(["another chat", "one chat"])
    chats.nth(1).click()
    expect(page.locator("article.user .body")).to_have_text("one chat")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete one chat").click()
    expect(chats).to_have_text(["another chat"])


@pytest.mark.parametrize("kind", ["Markdown", "JSON"])
def test_export(open_page: OpenPage, kind: str) -> None:
    page = open_page()
    ask(page, "think about it")
    answered(page)
    page.locator("#export summary").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name=f"As {kind}").click()
    text = Path(waiting.value.path()).read_text()
    if kind == "JSON":
        assert [message["role"] for message in json.loads(text)["messages"]] == ["user", "assistant"]
    else:
        assert text.startswith("# think about it\n\n## You\n\nthink about it\n\n## Model")


def test_an_error_is_shown_and_can_be_tried_again(open_page: OpenPage) -> None:
    page = open_page()
    ask(page, "fail")
    answered(page)
    expect(page.locator("article .problem")).to_have_text("temperature must be at least 0")
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_a_key_is_asked_for(open_page: OpenPage, model: ScriptedModel) -> None:
    app = create_app({"locked": model}, ServerSettings(api_keys=("k",)))  # type: ignore[dict-item]
    with serving(app) as address:
        page = open_page(address)
        expect(page.locator("#problem")).to_contain_text("API key")
        page.click("#open-settings")
        page.fill("#key", "k")
        expect(page.locator("#model option")).to_have_text(["locked"])
        ask(page, "hello")
        answered(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(open_page: OpenPage, scheme: Any) -> None:
    page = open_page(color_scheme=scheme)
    ask(page, "think about planets")
    answered(page)
    page.click("#open-settings")
    low = page.evaluate(CONTRAST)
    assert low == []


# Texts whose contrast to what is behind them is below 4.5, after WCAG's formula.
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data; };
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, w, i) => { const v = c[i] / 255;
    return sum + w * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); }, 0);
  const behind = (node) => { for (; node; node = node.parentElement) {
    const c = rgba(getComputedStyle(node).backgroundColor);
    if (c[3] === 255) return c; }
    return [255, 255, 255]; };
  const low = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility() || node.matches('option')) continue;
    const [a, b] = [light(rgba(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.push(node.textContent.trim().slice(0, 30));
  }
  return low;
}"""


def test_everything_has_a_name_for_screen_readers(open_page: OpenPage) -> None:
    page = open_page()
    ask(page, "use tools")
    answered(page)
    page.click("#open-settings")
    unnamed = page.locator("button, select, input:not([type=file]), textarea, progress").evaluate_all(
        """nodes => nodes.filter(node => node.checkVisibility() && !node.textContent.trim() && !node.title
             && !node.getAttribute('aria-label') && !node.getAttribute('aria-labelledby')
             && !node.labels?.length).map(node => node.outerHTML)"""
    )
    assert unnamed == []
    expect(page.get_by_role("log", name="Conversation")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("The answer is complete.")
    for role in ("navigation", "main", "complementary"):
        expect(page.get_by_role(role).first).to_be_attached()  # type: ignore[arg-type]


def test_the_keyboard_alone_is_enough(open_page: OpenPage) -> None:
    page = open_page()
    page.locator("#new-chat").focus()
    page.keyboard.press("/")
    expect(page.locator("#prompt")).to_be_focused()
    page.keyboard.type("line one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("line two")
    page.keyboard.press("Enter")
    answered(page)
    expect(page.locator("article.user .body")).to_have_text("line one\nline two")
    page.keyboard.press("Alt+r")
    answered(page)
    page.locator("#new-chat").focus()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()


def test_a_narrow_screen(open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 360, "height": 640})
    ask(page, "think about planets")
    answered(page)
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
    expect(page.locator("#history")).to_be_hidden()
    page.click("#open-history")
    expect(page.locator("#new-chat")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#history")).to_be_hidden()
    page.click("#open-settings")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_theme_can_be_chosen(open_page: OpenPage) -> None:
    page = open_page(color_scheme="light")
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme")
    assert page.evaluate(colour) != light
    page.reload()
    expect(page.locator("#theme")).to_have_text("Theme: dark")
    assert page.evaluate(colour) != light


def test_the_page_needs_nothing_from_elsewhere(url: str) -> None:
    page = httpx.get(url)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    folder = Path(__file__).parents[2] / "llamacpp_integrations/server/page"
    for file in folder.iterdir():
        text = file.read_text("utf-8")
        assert not [part for part in ('src="http', 'href="http', "@import", "innerHTML") if part in text], (
            file
        )


def test_a_server_without_the_page(model: ScriptedModel) -> None:
    app = create_app({"m": model}, ServerSettings(page=False))  # type: ignore[dict-item]
    with serving(app) as address:
        assert httpx.get(address).status_code == 404


def test_a_real_model_answers(open_page: OpenPage, served: Served) -> None:
    page = open_page(served.url)
    page.click("#open-settings")
    page.fill("#temperature", "0")
    page.fill("#max_tokens", "8")
    ask(page, "What is the capital of France? Answer in one word.")
    answered(page)
    expect(page.locator("article.assistant .body")).to_contain_text("Paris")
    expect(page.locator("#context-text")).to_contain_text("of 2048 tokens")
