"""The C++ library by itself: its own tests, and a program that uses it installed and from its sources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CMAKE = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
pytestmark = pytest.mark.skipif(CMAKE is None, reason="cmake is missing: pip install '.[test]'")


def run(*command, cwd=None):
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


def eigen():
    """Where Eigen is, for a build outside pip: the tests' cmeel-eigen, or the system's own."""
    prefixes = [Path(entry) / "cmeel.prefix" for entry in sys.path]
    return [f"-DCMAKE_PREFIX_PATH={prefix.as_posix()}" for prefix in prefixes if prefix.is_dir()]


def build(source, directory, *options):
    ninja = shutil.which("ninja", path=str(Path(CMAKE).parent)) or shutil.which("ninja")
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    run(CMAKE, "-S", source, "-B", directory, *generator, "-DCMAKE_BUILD_TYPE=Release", *eigen(), *options)
    run(CMAKE, "--build", directory, "--parallel", "2")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The library, built with its tests and installed."""
    directory = tmp_path_factory.mktemp("library")
    build(ROOT, directory / "build", "-DGROKFLOW_TESTS=ON")
    run(CMAKE, "--install", directory / "build", "--prefix", directory / "prefix")
    return directory


def test_cpp_tests(library):
    (program,) = (library / "build" / "tests" / "cpp").glob("grokflow_tests*")
    print(run(program))


def test_consumer_of_the_installed_package(library, tmp_path):
    build(
        ROOT / "tests" / "consumer",
        tmp_path,
        f"-Dgrokflow_ROOT={(library / 'prefix').as_posix()}",
    )
    print(run(tmp_path / "consumer"))


def test_consumer_of_the_sources_without_threads(tmp_path):
    build(
        ROOT / "tests" / "consumer",
        tmp_path,
        f"-DGROKFLOW_SOURCE_DIR={ROOT.as_posix()}",
        "-DCMAKE_DISABLE_FIND_PACKAGE_OpenMP=ON",
    )
    print(run(tmp_path / "consumer"))


def test_installed_package_imposes_no_compiler_flags(library):
    (targets,) = (library / "prefix").rglob("grokflowTargets.cmake")
    text = targets.read_text()
    assert "INTERFACE_LINK_LIBRARIES" in text
    for flag in ("INTERFACE_COMPILE_OPTIONS", "INTERFACE_LINK_OPTIONS", "march", "fopenmp"):
        assert flag not in text
