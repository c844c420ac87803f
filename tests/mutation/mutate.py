"""Changes the solvers in one place at a time, and counts how many of the changes the fast tests notice.

A change negates a comparison or moves its bound to the other side, turns a sign, or multiplies a constant by
1.01. `mutate.py 200` draws a sample of so many places, the same for the same text, compiles all of them into
one copy of the sources (mutants.hpp), and makes one at a time (trials.py). What became of each is written
into the table beside this file; those that the table knows as caught, or has a reason for, are not tried
again. It needs what an incremental build needs.

A change that survives is a gap in the tests, or one that makes no difference: a margin, a guess, the side of
a bound that is never met.
"""

import argparse
import csv
import filecmp
import hashlib
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from trials import Trials

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("table.csv")
COLUMNS = ["file", "line", "before", "after", "result", "by", "why"]
TESTS = (  # what knows most of the files below
    "counts step_control steps stiff_ivp closed_forms flow_laws noise tolerance work kernel_steps krylov "
    "faults_problem faults_system callback_calls events recording small_and_large decay costs memory "
    "limit_landing limit_ends limit_diagnoses limit_drift limit_phases limit_steps limit_projection "
    "limit_monitor limit_regularizers limit_twins end_points nist outputs scipy stiff_scipy invariants "
    "piecewise relu_flow relu_laws metamorphic checkpoint rock2 own_solves classes losses mgh"
)
FILES = [
    *(f"steppers/{name}.cpp" for name in ("bdf", "radau")),
    *("integrate.cpp", "landing.cpp", "landing_diagnosis.cpp"),
    *(f"curvature/{name}.cpp" for name in ("adaptive", "aged_kernel", "choose", "dense", "gram", "krylov")),
    *(f"piecewise/{name}.cpp" for name in ("crossings", "falling", "forces", "kinks", "modes", "stepper")),
    *(f"models/two_layer_{name}.cpp" for name in ("in_mode", "piece")),
]
BOUNDS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
NEGATIONS = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
SIGNS = {"+": "-", "-": "+", "+=": "-=", "-=": "+="}
SITE = re.compile(r" (?:[<>=!]=|[<>]|[+-]=?) |(?<![\w.])\d+(?:\.\d*(?:e[+-]?\d+)?|e[+-]?\d+)")
IGNORED = re.compile(r"//.*|#.*|operator.*")  # and whole lines with text


@dataclass(frozen=True)
class Site:
    """A place with its change."""

    file: str
    number: int
    line: str
    column: int
    before: str

    @property
    def draw(self):
        """A number that depends on nothing but the text, so that a sample stays when other lines change."""
        return hashlib.sha256(f"{self.file}{self.line.strip()}{self.column}".encode()).hexdigest()

    @property
    def negated(self):
        return self.before not in BOUNDS or int(self.draw, 16) % 2 == 1

    @property
    def after(self):
        if self.before[0].isdigit():
            return f"{float(self.before) * 1.01:.17g}"
        return (SIGNS | NEGATIONS | ({} if self.negated else BOUNDS))[self.before]

    @property
    def key(self):
        """What the table says of it: the file, and the line before and after."""
        changed = self.line[: self.column] + self.after + self.line[self.column + len(self.before) :]
        return self.file, self.line.strip(), changed.strip()

    def switch(self, change):
        """The text that makes the change or not."""
        if self.before[0].isdigit():
            return f"mutants::constant({change}, {self.before}, {self.after})"
        if self.before in ("+", "-"):
            return f"{self.before} mutants::sign({change}) *"
        if self.before in SIGNS:
            return f"{self.before} mutants::Sign{{{change}}} *="
        return f"{self.before} mutants::Turned{{{change}, {str(self.negated).lower()}}} {self.before}"


def sites():
    """All places, by lot; of equal lines, the first."""
    found = {}
    for file in FILES:
        for number, line in enumerate((ROOT / "cpp/src" / file).read_text().splitlines(), 1):
            code = "" if '"' in line else IGNORED.sub(lambda text: " " * len(text[0]), line)
            for match in SITE.finditer(code):
                before = match[0].strip()
                site = Site(file, number, line, match.start() + match[0].index(before), before)
                if before.strip("0.") != "":
                    found.setdefault(site.key, site)
    return sorted(found.values(), key=lambda site: site.draw)


def instrument(tree, chosen):
    """Write the sources with all changes in them."""
    for file in FILES:
        lines = (ROOT / "cpp/src" / file).read_text().splitlines()
        here = [(change, site) for change, site in chosen.items() if site.file == file]
        for change, site in sorted(here, key=lambda pair: -pair[1].column):
            line = lines[site.number - 1]
            line = line[: site.column] + site.switch(change) + line[site.column + len(site.before) :]
            line = re.sub(r"^constexpr double (\w+) = ([^;]*);", r"#define \1 (\2)", line)
            lines[site.number - 1] = line.replace("constexpr double", "const double")
        header = Path(__file__).with_name("mutants.hpp")
        text = "\n".join([f'#include "{header}"', "#line 1", *lines, ""])
        path = tree / "cpp/src" / file
        if path.read_text() != text:
            path.write_text(text)


def copy(tree):
    """Copy what git knows, as it is now, but for the sources that `instrument` writes again."""
    written = {f"cpp/src/{file}" for file in FILES}
    known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, known.decode().split("\0")):
        old, new = ROOT / name, tree / name
        if new.exists() and (name in written or filecmp.cmp(old, new, shallow=False)):
            continue
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(old, new)  # its time is now: later than that of what was built from the one before


def build(tree, count):
    """Build with the first `count` changes that compile where they are made at run time; return them."""
    lot = dict(enumerate(sites()))
    # One file at a time is compiled, for which headers compiled before are of no use.
    configure = ["cmake", "--preset", "python", "-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON"]
    subprocess.run(configure, cwd=tree, check=True, capture_output=True)
    while True:
        chosen = dict(list(lot.items())[:count])
        instrument(tree, chosen)
        command = ["cmake", "--build", "build/python", "--", "-j2", "-k0"]
        run = subprocess.run(command, cwd=tree, check=False, capture_output=True, text=True)
        if run.returncode == 0:
            return chosen
        said = run.stdout + run.stderr
        told = set(re.findall(r"cpp/src/([\w/]+\.cpp):(\d+):\d+: +(?:error|required)", said))
        wrong = [change for change, site in chosen.items() if (site.file, str(site.number)) in told]
        if not wrong:
            sys.exit(said)
        for change in wrong:
            print("does not compile as a switch:", *lot.pop(change).key, flush=True)


def work(number, options, tree, changes, barrier, told):
    """A worker: pytest, with the plugin that tries changes."""

    def exchange(outcome):
        (tree / f"reached.{number}").write_text(json.dumps(outcome))
        barrier.wait()
        return [json.loads((tree / f"reached.{i}").read_text()) for i in range(options.jobs)]

    os.chdir(tree)
    os.environ |= {"PYTHONPATH": str(tree / "python"), "GROKFLOW_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    sys.path.insert(0, str(tree / "python"))
    with (tree / f"mutants.{number}").open("w+b") as table:
        table.truncate(4096)
        os.environ["GROKFLOW_MUTANTS"] = table.name
        part = slice(number, None, options.jobs)
        trials = Trials(table, changes, options.seconds, part, exchange, lambda *row: told.put(row))
        quiet = ["-q", "-n", "0", "--tb=no", "-p", "no:cacheprovider", "-p", "no:run-parallel", "-s"]
        tests = options.tests or [f"tests/python/test_{name}.py" for name in TESTS.split()]
        try:
            pytest.main([*quiet, *tests], plugins=[trials])
        finally:
            told.put(None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, help="size of the sample")
    parser.add_argument("tests", nargs="*", help="as for pytest")
    parser.add_argument("--seconds", type=int, default=60, help="for the tests of a change")
    parser.add_argument("--jobs", type=int, default=2, help="changes that are tried at a time")
    parser.add_argument("--tree", type=Path, default=ROOT / "build" / "mutation", help="where the copy goes")
    options = parser.parse_args()
    tree = options.tree.resolve()
    copy(tree)
    chosen = build(tree, options.count)
    known = {}
    if TABLE.exists():
        known = {(row["file"], row["before"], row["after"]): row for row in csv.DictReader(TABLE.open())}
    rows = {}
    for change, site in chosen.items():
        row = dict(zip(["file", "before", "after"], site.key, strict=True)) | {"line": site.number}
        rows[change] = {"result": "", "by": "", "why": ""} | known.get(site.key, {}) | row
    changes = [k for k, row in rows.items() if row["result"] != "caught" and not row["why"]]
    barrier, told = multiprocessing.Barrier(options.jobs), multiprocessing.Queue()
    for number in range(options.jobs):
        multiprocessing.Process(target=work, args=(number, options, tree, changes, barrier, told)).start()
    working = options.jobs
    while working:
        news = told.get()
        if news is None:
            working -= 1
            continue
        change, result, by = news
        rows[change] |= {"result": result, "by": by}
        print(*rows[change].values(), flush=True)
        with TABLE.open("w", newline="") as stream:
            table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            table.writeheader()
            table.writerows(sorted(rows.values(), key=lambda row: (row["file"], row["line"], row["after"])))
    print(Counter(row["result"] for row in rows.values()))


if __name__ == "__main__":
    main()
