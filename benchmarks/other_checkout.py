"""Start a program of another checkout: `other_checkout.py ROOT PYTHON -c CODE PROGRAM [ARGUMENT ...]`.

PYTHON -c CODE starts PROGRAM from this checkout and is left out. The other checkout may have its modules elsewhere: its
pyproject.toml says where a program begins.
"""

from __future__ import annotations

import sys
import tomllib
from importlib import import_module
from pathlib import Path


def main() -> None:
    root, _, _, _, program, *arguments = sys.argv[1:]
    scripts = tomllib.loads(Path(root, "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts[program].partition(":")
    sys.argv = [program, *arguments]
    getattr(import_module(module), function)()


if __name__ == "__main__":
    main()
