# Which Eigen serves, and where to look for it beside the usual places. The PyPI package cmeel-eigen installs under
# site-packages/cmeel.prefix, which no prefix path names, but Python knows where that is. Used by the build and by the
# installed package; an Eigen that the project around them has is taken as it is.
set(GROKFLOW_EIGEN_VERSIONS 3.4...<6)
set(GROKFLOW_EIGEN_MISSING
  "Eigen 3.4 or later was not found. Install it with 'pip install cmeel-eigen', with the system's package manager "
  "(libeigen3-dev, eigen), or point CMAKE_PREFIX_PATH to it.")
string(CONCAT GROKFLOW_EIGEN_MISSING ${GROKFLOW_EIGEN_MISSING})

macro(grokflow_find_eigen versions)
  if(NOT TARGET Eigen3::Eigen)
    set(grokflow_eigen_hints)
    if(Python_EXECUTABLE)
      set(GROKFLOW_PYTHON_COMMAND "${Python_EXECUTABLE}")
    else()
      find_program(GROKFLOW_PYTHON_COMMAND NAMES python3 python DOC "The Python that may hold cmeel-eigen")
    endif()
    if(GROKFLOW_PYTHON_COMMAND)
      execute_process(
        COMMAND "${GROKFLOW_PYTHON_COMMAND}" -c
          "import os, sys; print(';'.join(p for p in (os.path.join(d, 'cmeel.prefix') for d in sys.path) if os.path.isdir(p)))"
        OUTPUT_VARIABLE grokflow_eigen_hints OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    endif()
    find_package(Eigen3 ${versions} CONFIG QUIET HINTS ${grokflow_eigen_hints})
  endif()
endmacro()
