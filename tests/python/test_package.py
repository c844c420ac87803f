"""The C++ library by itself: its own tests, and a program that uses it installed and from its sources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CMAKE = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CMAKE is None, reason="cmake is missing: pip install -r tests/requirements.txt"),
]


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
    run(CMAKE, "-S", source, "-B", directory, *generator, *eigen(), *options)
    run(CMAKE, "--build", directory, "--config", "Release", "--parallel", "2")


@pytest.fixture(scope="module", params=[None, "clang++"], ids=["compiler", "clang"])
def library(request, tmp_path_factory):
    """The library with its tests, built without a warning and installed: where it is, and its compiler."""
    if request.param and not shutil.which(request.param):
        pytest.skip(f"{request.param} is missing")
    compiler = [f"-DCMAKE_CXX_COMPILER={request.param}"] if request.param else []
    directory = tmp_path_factory.mktemp("library")
    build(ROOT, directory / "build", "-DGROKFLOW_TESTS=ON", "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON", *compiler)
    run(CMAKE, "--install", directory / "build", "--config", "Release", "--prefix", directory / "prefix")
    return directory, compiler


@pytest.mark.xdist_group("library")
def test_cpp_tests(library):
    directory, _ = library
    ctest = Path(CMAKE).with_name("ctest")
    run(ctest, "--test-dir", directory / "build", "-C", "Release", "--output-on-failure")


@pytest.mark.xdist_group("library")
def test_consumer_of_the_installed_package(library, tmp_path):
    directory, compiler = library
    root = f"-Dgrokflow_ROOT={(directory / 'prefix').as_posix()}"
    build(ROOT / "tests" / "consumer", tmp_path, "-DCMAKE_BUILD_TYPE=Release", root, *compiler)
    (program,) = tmp_path.rglob("consumer.exe" if os.name == "nt" else "consumer")
    run(program)


@pytest.mark.xdist_group("library")
def test_installed_package_imposes_no_compiler_flags(library):
    (targets,) = (library[0] / "prefix").rglob("grokflowTargets.cmake")
    text = targets.read_text()
    assert "INTERFACE_LINK_LIBRARIES" in text
    for flag in ("INTERFACE_COMPILE_OPTIONS", "INTERFACE_LINK_OPTIONS", "march", "fopenmp"):
        assert flag not in text


def test_consumer_of_the_sources_without_threads(tmp_path):
    """Not optimised, which takes a third of the time, and with Eigen's assertions."""
    sources = f"-DGROKFLOW_SOURCE_DIR={ROOT.as_posix()}"
    build(ROOT / "tests" / "consumer", tmp_path, sources, "-DCMAKE_DISABLE_FIND_PACKAGE_OpenMP=ON")
    (program,) = tmp_path.rglob("consumer.exe" if os.name == "nt" else "consumer")
    run(program)
