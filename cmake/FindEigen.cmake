# Eigen, from the system or from the PyPI package cmeel-eigen. The latter installs under
# site-packages/cmeel.prefix, which no prefix path names; a build front end puts it on Python's path.
find_package(Eigen3 3.4 CONFIG QUIET)
if(NOT Eigen3_FOUND)
  find_package(Python COMPONENTS Interpreter REQUIRED)
  execute_process(
    COMMAND "${Python_EXECUTABLE}" -c
      "import sys, os; print(';'.join(p for p in (os.path.join(d, 'cmeel.prefix') for d in sys.path) if os.path.isdir(p)))"
    OUTPUT_VARIABLE cmeel_prefixes OUTPUT_STRIP_TRAILING_WHITESPACE)
  find_package(Eigen3 3.4 CONFIG QUIET PATHS ${cmeel_prefixes})
endif()
if(NOT Eigen3_FOUND)
  message(FATAL_ERROR
    "Eigen 3.4 or later was not found. Install it with 'pip install cmeel-eigen', with the system's "
    "package manager (libeigen3-dev, eigen), or point CMAKE_PREFIX_PATH to it.")
endif()
