"""The papers' scripts at small size: each leaves its figure, and the laws that it prints hold there too."""

import re
from pathlib import Path

import grokflow
import pytest

pytest.importorskip("typer")
from command_line import grokflow as command_line
from command_line import refused
from grokflow.app.experiments import EXPERIMENTS
from grokflow.app.papers import titles

FOLDER = Path(grokflow.__file__).parent / "papers"
NEEDS = {"liu2022": "sklearn", "nanda2023": "jax", "woodworth2020": "scipy"}
LAWS = {  # what is printed, and the bounds of its numbers
    "xu2026": (r"t2 ~ lam\^(\S+);", -1.001, -0.999),
    "levi2023": (r"closed form: within (\S+) ", 0.0, 1e-3),
    "musat2025": (r"1 - cos ~ lam\^(\S+) ", 1.5, 2.5),
    "li2021": (r"at 8 s: (\S+)", 0.0, 1e-4),
    "woodworth2020": (r"alpha = 1e-100: between the jumps within (\S+) ", 0.0, 1e-3),
    "boursier2025": (r"drift ~ lam\^(\S+)", 0.8, 1.2),
    "notsawo2025": (r"t ~ lam\^(\S+)", -1.2, -0.8),
}


QUICK = ("levi2023", "woodworth2020", "xu2026")
RUNS = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in titles()]


@pytest.mark.parametrize("name", RUNS)
def test_a_script_runs_at_small_size(name, tmp_path):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    result = command_line("reproduce", name, "--small", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.png"]
    assert titles()[name] in result.stdout
    if name in LAWS:
        pattern, low, high = LAWS[name]
        found = [float(number) for number in re.findall(pattern, result.stdout)]
        assert found, result.stdout
        assert all(low <= number <= high for number in found), result.stdout


@pytest.mark.parametrize("name", titles())
def test_a_script_is_short_and_names_its_paper(name):
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 80
    assert re.search(r"\((arXiv \d{4}\.\d{5}|\d{4})\)", titles()[name])


def test_the_manual_has_a_page_and_a_figure_of_each():
    gallery = Path(__file__).parents[2] / "docs" / "gallery"
    assert {path.stem for path in gallery.glob("*.md")} == {"index", *titles()}
    assert {path.stem for path in gallery.glob("*.png")} == {*titles()}
    index = (gallery / "index.md").read_text(encoding="utf-8")
    assert all(f"({name}.md)" in index for name in titles())


def test_everything_is_listed():
    result = command_line("reproduce", "--list")
    assert result.exit_code == 0, result.output
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names == [*EXPERIMENTS, *titles()]


def test_a_name_that_is_not_there_gets_those_that_are_like_it(tmp_path):
    refused(command_line("reproduce", "lyu2024", "--out", tmp_path / "out"), "did you mean lyu2023")
    refused(command_line("reproduce", "zzz", "--out", tmp_path / "out"), "--list")
    assert not (tmp_path / "out").exists()
    refused(command_line("reproduce", "lyu2023", "--seed", 1, "--out", tmp_path / "out"), "--seed")
