"""``python -m grokflow`` is the command ``grokflow``; ``--cmakedir`` says where the CMake files are."""

import sys

from grokflow.cli import main
from grokflow.embedding import get_cmake_dir

if sys.argv[1:] == ["--cmakedir"]:
    print(get_cmake_dir())
else:
    main()
