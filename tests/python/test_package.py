"""The library for programs in C++ and C: its own tests, and programs that use it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import grokflow as gf
import pytest

ROOT = Path(__file__).parents[2]
CONSUMER = ROOT / "tests" / "consumer"
CMAKE = shutil.which("cmake", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
PACKAGE = Path(gf.__file__).parent
needs_cmake = pytest.mark.skipif(
    CMAKE is None, reason="cmake is missing: pip install -r tests/requirements.txt"
)
installed = pytest.mark.skipif(not (PACKAGE / "lib").is_dir(), reason="grokflow runs from its sources")


def run(*command, cwd=None, **variables):
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=1800,
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


def run_tests(directory, **variables):
    ctest = Path(CMAKE).with_name("ctest")
    run(ctest, "--test-dir", directory, "-C", "Release", "--output-on-failure", **variables)


STRICT = ["-DGROKFLOW_TESTS=ON", "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON", "-DCMAKE_BUILD_TYPE=Release"]
PROGRAMS_WITHOUT = "-DCMAKE_DISABLE_FIND_PACKAGE_OpenMP=ON"  # they need not look for it


@pytest.mark.slow
@needs_cmake
def test_library(tmp_path):
    """Built without a warning, tested and installed, it serves programs."""
    library, prefix = tmp_path / "library", tmp_path / "prefix"
    flags = "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG"  # half of the time of -O3
    build(ROOT, library, *STRICT, flags, "-DCMAKE_INSTALL_INCLUDEDIR=headers")
    run_tests(library)
    run(CMAKE, "--install", library, "--config", "Release", "--prefix", prefix)
    require_no_flags(prefix)
    root = f"-Dgrokflow_ROOT={prefix.as_posix()}"
    build(CONSUMER, tmp_path / "programs", "-DCMAKE_BUILD_TYPE=Release", PROGRAMS_WITHOUT, root)
    run_tests(tmp_path / "programs")


@pytest.mark.slow
@needs_cmake
@pytest.mark.skipif(not shutil.which("clang++"), reason="clang++ is missing")
def test_library_in_another_project(tmp_path):
    """By clang, shared, without threads, with Eigen's assertions; installed by that, it serves others."""
    project, prefix = tmp_path / "project", tmp_path / "prefix"
    clang = "-DCMAKE_CXX_COMPILER=clang++"
    flags = ["-DCMAKE_CXX_FLAGS=-Wall -Wextra", "-DCMAKE_CXX_FLAGS_RELEASE=-O1", "-DBUILD_SHARED_LIBS=ON"]
    inside = [f"-DGROKFLOW_SOURCE_DIR={ROOT.as_posix()}", "-DGROKFLOW_INSTALL=ON"]
    build(CONSUMER, project, *STRICT, clang, *flags, *inside, PROGRAMS_WITHOUT)
    run_tests(project)
    run(CMAKE, "--install", project, "--config", "Release", "--prefix", prefix)
    require_no_flags(prefix)
    require_own_names(prefix)
    build(CONSUMER, tmp_path / "programs", clang, f"-Dgrokflow_ROOT={prefix.as_posix()}", PROGRAMS_WITHOUT)
    run_tests(tmp_path / "programs")


def require_no_flags(prefix):
    """It imposes no flags of the compiler on those that use it."""
    (targets,) = prefix.rglob("grokflowTargets.cmake")
    text = targets.read_text()
    assert "INTERFACE_LINK_LIBRARIES" in text
    for flag in ("INTERFACE_COMPILE_OPTIONS", "INTERFACE_LINK_OPTIONS", "march", "fopenmp"):
        assert flag not in text


def require_own_names(prefix):
    """It shows names of its own only, of a version: another one is refused as it is loaded."""
    if not shutil.which("nm"):
        return
    shared = [file for file in prefix.rglob("*.so*") if not file.is_symlink()]
    names = {line.split()[-1] for line in run("nm", "-D", "--defined-only", *shared).splitlines()}
    minor = ".".join(gf.__version__.split(".")[:2])
    assert f"grokflow_advance@@GROKFLOW_{minor}" in names
    assert not [name for name in names if "grokflow" not in name.split("@")[0].lower()]


@pytest.mark.slow
@needs_cmake
@installed
class TestWheel:
    def cmake_dir(self):
        return f"-Dgrokflow_DIR={run(sys.executable, '-m', 'grokflow', '--cmakedir').strip()}"

    @pytest.mark.skipif(sys.platform != "linux", reason="flags of GCC")
    def test_programs_with_every_warning_and_address_sanitizer(self, tmp_path):
        """Eigen allocates in another way under the sanitizer, unless the package tells it not to."""
        flags = "-O1 -Werror -Wall -Wextra -Wconversion -Wshadow -fsanitize=address"
        both = [f"-DCMAKE_{language}_FLAGS={flags}" for language in ("C", "CXX")]
        build(CONSUMER, tmp_path, *both, "-DWARNINGS=ON", self.cmake_dir())
        run_tests(tmp_path, ASAN_OPTIONS="detect_leaks=0")  # the runtime of OpenMP keeps its threads

    def test_an_example_by_itself(self, tmp_path):
        build(ROOT / "examples" / "embed", tmp_path, self.cmake_dir())
        (program,) = (path for path in tmp_path.rglob("embed*") if path.stem == "embed" and path.is_file())
        assert "landed" in run(program)

    @pytest.mark.skipif(sys.platform != "linux", reason="flags of GCC")
    def test_headers_of_another_allocation_are_refused(self, tmp_path):
        """By the linker, which names what fits."""
        source = tmp_path / "main.cpp"
        source.write_text('#include "grokflow/status.hpp"\nint main() { return grokflow::abi::fits - 1; }\n')
        flags = [f"-I{gf.get_include()}", f"-L{PACKAGE / 'lib'}", "-lgrokflow", "-std=c++17"]
        flags += [f"-I{Path(p) / 'cmeel.prefix/include/eigen3'}" for p in sys.path] + [
            "-I/usr/include/eigen3"
        ]
        command = ["c++", source, "-o", tmp_path / "program", "-DEIGEN_MAX_ALIGN_BYTES=128", *flags]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode != 0
        assert re.search(r"version_\d+_\d+_eigen_\d+_\d+_aligned_128_malloc_0", done.stderr)


def code_of(text):
    """Return `text` without comments and blanks."""
    return re.sub(r"\s|//.*", "", text)


def test_examples_of_the_headers_are_compiled():
    compiled = code_of((CONSUMER / "examples.cpp").read_text(encoding="utf-8"))
    examples = 0
    for header in sorted((ROOT / "cpp" / "include").rglob("*.hpp")):
        comment = header.read_text(encoding="utf-8").split("#pragma once")[0]
        for line in re.findall(r"^//   (.*grokflow::.*)$", comment, flags=re.MULTILINE):
            if "..." not in line:
                assert code_of(line) in compiled, f"{header.name}: {line}"
                examples += 1
    assert examples > 40


def test_what_is_not_there_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr("grokflow.embedding.PACKAGE", tmp_path)
    for function in (gf.get_include, gf.get_cmake_dir):
        with pytest.raises(FileNotFoundError, match="runs from its sources"):
            function()
