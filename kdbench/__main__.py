"""`python -m kdbench`: the command line, also where the `kdbench` script is not on the PATH."""

import sys

from kdbench.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
