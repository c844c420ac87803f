"""What a notebook shows of a result, and where its words lead: escaped, closed, without scripts."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import grokflow as gf
import numpy as np
import pytest
from grokflow import _manual

ROOT = Path(__file__).parents[2]
X, Y = np.random.default_rng(0).standard_normal((3, 6)), np.ones(3)


class Page(HTMLParser):
    """Reads text and links, and fails where tags do not close in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen, self.links, self.text = [], set(), [], ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        self.seen.add(tag)
        assert not any(name.startswith("on") or name == "src" for name, _ in attributes)
        self.links += [value for name, value in attributes if name == "href"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += f"{data} "


@pytest.fixture
def problem():
    return gf.models.LinearRegression(X, Y)


@pytest.fixture
def manual(monkeypatch):
    monkeypatch.setattr(_manual, "_root", lambda: "https://example.org/docs")


def test_a_solution_shows_how_it_ended_and_what_it_cost(problem):
    sol = gf.gradient_flow(problem, np.ones(6), (0, 10), weight_decay=1e-2)
    page = Page(sol._repr_html_())
    for word in ("finished", sol.message, "train_loss", "nfev", "weight_decay"):
        assert word in page.text
    assert "table" in page.seen
    assert "script" not in page.seen


def test_names_and_messages_of_users_are_escaped(problem):
    name = "<script>alert(1)</script>"
    sol = gf.gradient_flow(problem, np.ones(6), (0, 1), weight_decay=1e-2, observe={name: "norm"})
    page = Page(dataclasses.replace(sol, message="a < b & c")._repr_html_())
    assert "script" not in page.seen
    assert name in page.text
    assert "a < b & c" in page.text


def test_landing_and_both_phases_show_themselves(problem):
    phases = gf.two_phase(problem, np.ones(6), [1e-2, 1e-3])
    assert "landed" in Page(phases.landing._repr_html_()).text
    page = Page(phases._repr_html_())
    header, rows = phases.table()
    for cell in (*header, *rows[0], *rows[1], "finished"):
        assert cell in page.text
    broken = dataclasses.replace(phases, slow=dataclasses.replace(phases.slow, status="left_manifold"))
    assert "incomplete" in Page(broken._repr_html_()).text


def test_an_early_end_leads_to_what_the_manual_says_of_it(problem, manual):
    sol = gf.gradient_flow(problem, np.ones(6), (0, 10), weight_decay=1e-2, max_steps=3)
    where = "https://example.org/docs/manual/troubles.html#max-steps"
    assert sol.message.endswith(f"See {where}.")
    assert Page(sol._repr_html_()).links == [where]
    landing = gf.limit_map(problem, np.ones(6), max_steps=3)
    assert landing.message == landing.path.message
    assert landing.message.count(where) == 1
    done = gf.gradient_flow(problem, np.ones(6), (0, 10), weight_decay=1e-2)
    assert "example.org" not in done.message
    assert Page(done._repr_html_()).links == []


def test_without_an_address_the_page_is_named(problem, monkeypatch):
    monkeypatch.setattr(_manual, "_root", lambda: "")
    sol = gf.gradient_flow(problem, np.ones(6), (0, 10), weight_decay=1e-2, max_steps=3)
    assert sol.message.endswith("See 'max_steps' in the manual, on the page 'When something goes wrong'.")
    assert Page(sol._repr_html_()).links == []


def test_the_manual_explains_every_status():
    words = set(re.findall(r'return "(\w+)"', (ROOT / "cpp/src/status.cpp").read_text(encoding="utf-8")))
    assert {"finished", "max_steps", "saddle"} < words
    explained = re.findall(
        r"^\| `(\w+)`\{#([\w-]+)\}", (ROOT / "docs/manual/troubles.md").read_text(encoding="utf-8"), re.M
    )
    assert words - {"running", "unknown"} <= {word for word, _ in explained}
    for word, anchor in explained:
        assert anchor == word.replace("_", "-")
