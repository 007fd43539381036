"""The texts of the page: one file per language, all with the same texts, and no other text in the page."""

from __future__ import annotations

import ast
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from .browser import Browser
from .conftest import STATIC, Scene, Serve, teach_many

PLURALS = {"en": {"one", "other"}, "de": {"one", "other"}, "zh": {"other"}}  # of the Unicode CLDR
TEXTS: dict[str, dict[str, Any]] = {
    code: json.loads((STATIC / "lang" / f"{code}.json").read_text("utf-8")) for code in PLURALS
}
KEYS = {"data-text", "data-title", "data-alt", "data-name", "data-example"}
SHOWN = {"title", "alt", "aria-label", "placeholder"}  # attributes that people see or hear
SCRIPTS = sorted(STATIC.glob("*.js"))


def forms(text: str | dict[str, str]) -> dict[str, str]:
    """Return the forms of a text by what they depend on; a text that depends on no number has one."""
    return text if isinstance(text, dict) else {"": text}


def names(text: str) -> set[str]:
    """Return the names of the values in a text."""
    return set(re.findall(r"\{(\w+)\}", text))


class Words(HTMLParser):
    """What people read in a document, and the keys of texts in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.keys: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Read the attributes."""
        if tag not in ("meta", "link", "img", "input", "path", "br"):
            self._inside.append(tag)
        self.keys += [value for name, value in attrs if name in KEYS and value]
        self.found += [value for name, value in attrs if name in SHOWN and value]

    def handle_endtag(self, tag: str) -> None:
        """Leave an element."""
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Read a text."""
        if data.strip() and "noscript" not in self._inside:
            self.found.append(data.strip())


class Literals:
    """The texts between quotes in a script, without comments, selectors and lists of classes; ``${...}`` is one NUL."""

    def __init__(self, script: str) -> None:
        code = re.sub(r"(?m)^\s*//.*$|(?<=[;{,])\s+//.*$", "", script)
        selectors = r"(?:matches|closest|querySelector|querySelectorAll|matchMedia)\((?:\"[^\"]*\"|[^)\"])*\)|\bclass: [^,}]*"
        self._code = re.sub(selectors, "", code)
        self.found: list[str] = []
        self._read_code(0)

    def _read_code(self, at: int) -> int:
        """Read to the end, or to the brace that ends an expression; return the place after it."""
        depth = 0
        while at < len(self._code):
            match self._code[at]:
                case '"':
                    quoted = re.compile(r'"((?:[^"\\\n]|\\.)*)"').match(self._code, at)
                    assert quoted is not None, self._code[at : at + 40]
                    self.found.append(quoted[1])
                    at = quoted.end()
                    continue
                case "`":
                    at = self._read_template(at + 1)
                    continue
                case "{":
                    depth += 1
                case "}" if depth == 0:
                    return at + 1
                case "}":
                    depth -= 1
            at += 1
        return at

    def _read_template(self, at: int) -> int:
        text = ""
        while self._code[at] != "`":
            if self._code.startswith("${", at):
                text, at = f"{text}\0", self._read_code(at + 2)
            else:
                text, at = text + self._code[at], at + 1
        self.found.append(text)
        return at + 1


@pytest.mark.parametrize("code", ["de", "zh"])
def test_every_language_has_the_same_texts(code: str) -> None:
    """The same keys in the same order, and in each text the values of the English one."""
    own, english = TEXTS[code], TEXTS["en"]
    assert list(own) == list(english)
    for key, text in english.items():
        wanted = names(forms(text).get("other", forms(text).get("", "")))
        for form, translated in forms(own[key]).items():
            assert translated.strip() == translated or key == "comma", key
            used = names(translated)
            assert used == wanted or (form == "one" and used | {"count"} == wanted), (key, form)


@pytest.mark.parametrize("code", PLURALS)
def test_a_text_with_a_number_has_the_forms_of_its_language(code: str) -> None:
    """English and German have two, Chinese has one."""
    for key, text in TEXTS[code].items():
        if isinstance(TEXTS["en"][key], dict):
            assert set(text) == PLURALS[code], key
        else:
            assert isinstance(text, str), key


def test_translations_are_not_copies() -> None:
    """Some words are the same in English and German, but no sentence is."""
    for code in ("de", "zh"):
        same = {key for key, text in TEXTS[code].items() if text == TEXTS["en"][key]}
        assert same <= {"percent", "comma", "option", "nameCount", "labels", "name", "guess", "sentence"}, (
            code
        )


def test_the_document_contains_no_text_of_its_own() -> None:
    """Except the name, and the message where there is no JavaScript; every key in it exists."""
    words = Words()
    words.feed((STATIC / "index.html").read_text("utf-8"))
    assert set(words.found) == {"edgetl"}
    assert set(words.keys) <= TEXTS["en"].keys()


SENTENCE = re.compile(
    r"[A-Za-z]{2,}[,:]? (\0 )*[A-Za-z]{2,}|^[A-Z][a-z]+ \0|[A-Za-z] ?…|^[^/]*[A-Za-z][.!?]$"
)
WORD = re.compile(r'(?:\bsay\([^;]*?, |\b(?:title|text|ok|second|action|alt): )"([A-Z][^"]*)"')


def foreign(script: str) -> list[str]:
    """Return the texts in a script that belong into the files of languages."""
    return [text for text in Literals(script).found if SENTENCE.search(text)] + WORD.findall(script)


def test_the_scripts_contain_no_text_of_their_own() -> None:
    """Neither sentences nor names of buttons."""
    for path in SCRIPTS:
        assert foreign(path.read_text("utf-8")) == [], path.name


@pytest.mark.parametrize(
    "script",
    ['toast("No sample.");', "say(one, `Taught ${count} of ${name}`);", 'say(one, "Undo");', '{ ok: "Delete" }',
     'make("p", {}, "not taught")', 'if (a) { if (b) { toast(`${c ? "No sample" : `${d} is`}`); } }', 'say(one, "Waiting…")'],
)  # fmt: skip
def test_a_text_in_a_script_would_be_found(script: str) -> None:
    """Whatever its form."""
    assert foreign(script)


def test_every_text_is_used_and_every_used_one_exists() -> None:
    """A text that is no longer shown is removed."""
    words = Words()
    words.feed((STATIC / "index.html").read_text("utf-8"))
    scripts = "\n".join(path.read_text("utf-8") for path in SCRIPTS)
    asked = set(re.findall(r'\bt\("(\w+)"', scripts))
    assert asked <= TEXTS["en"].keys()
    unused = {
        key
        for key in TEXTS["en"]
        if key not in words.keys and f'"{key}"' not in scripts and not key.startswith("message")
    }
    assert unused == set()


def sentences_of_the_device() -> set[str]:
    """Return the literals in the code of the device; what is filled in later is {}."""
    found = set()
    for path in STATIC.parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                found.add("".join(str(part) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_every_message_of_the_device_that_is_translated_exists() -> None:
    """The page recognizes messages by their English text, so a change there needs a change in the files."""
    known = sentences_of_the_device()
    messages = {key: text for key, text in TEXTS["en"].items() if key.startswith("message")}
    assert len(messages) > 15
    for key, text in messages.items():
        assert re.sub(r"\{\w+\}", "{}", text) in known, key


def speak(browser: Browser, languages: str) -> None:
    """Set the languages that the browser prefers."""
    agent = browser.run("return navigator.userAgent")
    override = {"userAgent": agent, "acceptLanguage": languages}
    browser.driver.execute_cdp_cmd("Emulation.setUserAgentOverride", override)


def visible_texts(browser: Browser) -> list[str]:
    """Return the texts and names of all elements that are shown."""
    found: list[str] = browser.run(
        "return [...document.querySelectorAll('body *')].filter((e) => e.checkVisibility() && !e.closest('[lang=en]'))"
        ".flatMap((e) => [...[...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.textContent.trim()),"
        " e.title, e.getAttribute('aria-label'), e.placeholder]).filter(Boolean)"
    )
    return found


@pytest.mark.browser
def test_the_page_speaks_the_language_of_the_browser_or_the_chosen_one(
    browser: Browser, serve: Serve, scene: Scene
) -> None:
    """Nothing stays English, nothing is wider than a phone, and the choice is remembered."""
    server, _ = serve()
    teach_many(server.page.learner, ("red", "blue"))
    browser.narrow(360, 740)
    try:
        speak(browser, "fr-FR,de-AT;q=0.9,en;q=0.8")
        browser.visit(server.url)
        expect(browser, "de", "de")
        browser.run(
            "const list = document.querySelector('#language'); list.value = 'zh';"
            "list.dispatchEvent(new Event('change'))"
        )
        browser.wait(lambda: browser.run("return document.documentElement.lang") == "zh-Hans")
        expect(browser, "zh", "zh-Hans")
        browser.visit(server.url)
        expect(browser, "zh", "zh-Hans")
        assert browser.run("return document.querySelector('#language').value") == "zh"
        assert browser.complaints() == []
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": ""})


def expect(browser: Browser, code: str, tag: str) -> None:
    """Check that the page is in one language, in all that is shown after teaching, and fits on a phone."""
    browser.wait(lambda: browser.one("#main").is_displayed())
    browser.wait(lambda: browser.text("#accuracy") and browser.text("#grid li"))
    browser.wait(lambda: browser.text("#prediction-label") == "red")
    assert browser.run("return document.documentElement.lang") == tag
    assert browser.text("#undo").strip() == TEXTS[code]["undo"]
    assert browser.text("#accuracy-note").startswith(TEXTS[code]["accuracyNote"]["other"].split("{")[0])
    english = {text for value in TEXTS["en"].values() for text in forms(value).values()}
    own = {text for value in TEXTS[code].values() for text in forms(value).values()}
    shown = visible_texts(browser)
    assert len(shown) > 40
    assert [text for text in shown if text in english - own] == []
    warnings = browser.run(
        "return [...document.querySelectorAll('.warnings li, .forecast li')].map((e) => e.lang)"
    )
    assert len(warnings) >= 2
    assert set(warnings) <= {"", code}
    assert [text for text in shown if "undefined" in text or "{" in text] == []
    assert browser.run("return document.documentElement.scrollWidth") <= 360
