"""Changes the solvers in one place at a time, and counts how many of the changes the fast tests notice.

A change turns round a comparison or a sign, or multiplies a constant by 1.01. `mutate.py 200` draws a sample
of so many places, always the same for one seed, tries those that the table does not have yet, each in a copy
of the sources, and writes what became of it into the table beside this file. It needs what an incremental
build needs.

A change that survives is a gap in the tests, or one that makes no difference: a margin, a guess, the side of
a bound that is never met.
"""

import argparse
import csv
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("table.csv")
COLUMNS = ["file", "line", "column", "before", "after", "result", "by", "seconds"]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "--tb=no", "-p", "no:cacheprovider"]
LONGEST = 600  # CPU seconds for the tests of a change: one that makes them hang is noticed

STEPS = "test_stiff_ivp test_steps test_closed_forms test_flow_laws test_noise test_tolerance test_work"
LIMIT = "test_limit_landing test_limit_ends test_limit_diagnoses test_limit_drift test_limit_phases"
KINKS = "test_piecewise test_relu_flow test_relu_laws"
TESTS = {  # of a file, those that know most of it first
    "cpp/src/steppers/bdf.cpp": STEPS,
    "cpp/src/steppers/radau.cpp": f"{STEPS} test_piecewise",
    "cpp/src/integrate.cpp": f"test_events test_steps test_recording test_small_and_large {STEPS}",
    "cpp/src/landing.cpp": LIMIT,
    "cpp/src/curvature/dense.cpp": f"test_steps test_flow_laws {STEPS} {LIMIT}",
    "cpp/src/curvature/gram.cpp": f"test_kernel_steps test_flow_laws {STEPS} {LIMIT}",
    "cpp/src/curvature/krylov.cpp": f"test_krylov {LIMIT}",
    "cpp/src/curvature/choose.cpp": "test_selection test_flow_laws test_krylov test_memory",
    "cpp/src/piecewise/crossings.cpp": KINKS,
    "cpp/src/piecewise/forces.cpp": KINKS,
    "cpp/src/piecewise/kinks.cpp": KINKS,
    "cpp/src/piecewise/modes.cpp": KINKS,
    "cpp/src/piecewise/stepper.cpp": KINKS,
    "cpp/src/models/two_layer_piece.cpp": KINKS,
    "cpp/src/models/two_layer_in_mode.cpp": KINKS,
}
SWAPS = {
    " < ": " <= ", " <= ": " < ", " > ": " >= ", " >= ": " > ", " == ": " != ", " != ": " == ",
    " + ": " - ", " - ": " + ", " += ": " -= ", " -= ": " += ",
}  # fmt: skip
SITE = re.compile(r" (?:[<>=!]=|[<>]|[+-]=?) |(?<![\w.])\d+(?:\.\d*(?:e[+-]?\d+)?|e[+-]?\d+)")
IGNORED = re.compile(r"//.*|#.*|operator.*")  # and whole lines with text


def sites():
    """All places that can be changed: file, line, column, text before, text after."""
    for name in TESTS:
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
            code = "" if '"' in line else IGNORED.sub(lambda found: " " * len(found[0]), line)
            for found in SITE.finditer(code):
                before = found[0]
                after = SWAPS.get(before) or f"{float(before) * 1.01:.17g}"
                if after != before and before.strip("0.") != "":
                    yield name, number, found.start(), before, after


class Copy:
    """The sources in another place, with what is built of them."""

    def __init__(self, tree):
        """Copy what git knows, as it is now, and build it."""
        self.tree = tree
        shutil.rmtree(tree, ignore_errors=True)
        known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
        for name in filter(None, known.decode().split("\0")):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
        # One file at a time is compiled, for which headers compiled before are of no use.
        configure = ["cmake", "--preset", "python", "-DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON"]
        if not self.run(configure) or not self.build():
            sys.exit(f"the sources do not build: see {self.log}")
        if not self.passes(" ".join(TESTS.values())):
            sys.exit(f"the tests do not pass as they are: see {self.log}")

    @property
    def log(self):
        return self.tree / "log"

    def run(self, command):
        """Whether a command ends well; what it says goes into the log."""
        environment = os.environ | {"PYTHONPATH": str(self.tree / "python"), "GROKFLOW_NUM_THREADS": "1"}
        with self.log.open("w") as log:
            options = {"cwd": self.tree, "env": environment, "stdout": log, "stderr": log}
            return subprocess.run(command, **options, check=False).returncode == 0

    def build(self):
        return self.run(["cmake", "--build", "build/python", "--", "-j2"])

    def passes(self, names):
        """Whether these tests pass."""
        tests = [f"tests/python/{name}.py" for name in dict.fromkeys(names.split())]
        return self.run(["bash", "-c", f'ulimit -t {LONGEST}; exec "$@"', "-", *PYTEST, *tests])

    def attempt(self, name, number, column, before, after):
        """Make a change, build, test and undo it: what became of it, and by what it was noticed."""
        path = self.tree / name
        whole = path.read_text(encoding="utf-8")
        lines = whole.splitlines(keepends=True)
        line = lines[number - 1]
        lines[number - 1] = line[:column] + after + line[column + len(before) :]
        path.write_text("".join(lines), encoding="utf-8")
        try:
            if not self.build():
                return "caught", "the compiler"
            if self.passes(TESTS[name]):
                return "survived", ""
            failed = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", self.log.read_text(), re.MULTILINE)
            return "caught", failed[1].removeprefix("tests/python/") if failed else "a crash, or no end"
        finally:
            path.write_text(whole, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, help="size of the sample")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--most", type=float, default=float("inf"), help="seconds after which none is begun")
    parser.add_argument("--tree", type=Path, default=ROOT / "build" / "mutation", help="where the copy goes")
    options = parser.parse_args()
    known = list(csv.DictReader(TABLE.open())) if TABLE.exists() else []
    done = {tuple(row[name] for name in COLUMNS[:5]) for row in known}
    places = list(sites())
    sample = random.Random(options.seed).sample(places, min(options.count, len(places)))
    end = time.monotonic() + options.most
    copy = Copy(options.tree.resolve())
    with TABLE.open("a", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        if not known:
            table.writerow(COLUMNS)
        for place in sample:
            start = time.monotonic()
            if tuple(map(str, place)) in done or start > end:
                continue
            row = [*place, *copy.attempt(*place), round(time.monotonic() - start)]
            table.writerow(row)
            stream.flush()
            print(*row, flush=True)
    results = [row["result"] for row in csv.DictReader(TABLE.open())]
    print(f"{results.count('caught')} of {len(results)} changes were caught; there are {len(places)} places")


if __name__ == "__main__":
    main()
