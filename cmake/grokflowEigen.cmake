# Which Eigen serves, and where to look for it beside the usual places. The PyPI package cmeel-eigen installs under
# site-packages/cmeel.prefix, which no prefix path names, but Python knows where that is. Used by the build and by the
# installed package.
set(GROKFLOW_EIGEN_VERSIONS 3.4...<6)
set(GROKFLOW_EIGEN_HINTS)
if(Python_EXECUTABLE)
  set(GROKFLOW_PYTHON_COMMAND "${Python_EXECUTABLE}")
else()
  find_program(GROKFLOW_PYTHON_COMMAND NAMES python3 python DOC "The Python that may hold cmeel-eigen")
endif()
if(GROKFLOW_PYTHON_COMMAND)
  execute_process(
    COMMAND "${GROKFLOW_PYTHON_COMMAND}" -c
      "import os, sys; print(';'.join(p for p in (os.path.join(d, 'cmeel.prefix') for d in sys.path) if os.path.isdir(p)))"
    OUTPUT_VARIABLE GROKFLOW_EIGEN_HINTS OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
