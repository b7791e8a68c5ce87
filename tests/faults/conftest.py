"""The campaign's pieces are found as `benchmarks`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # last: kdbench itself may be an installed one
