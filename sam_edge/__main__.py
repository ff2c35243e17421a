"""`python -m sam_edge` is `sam-edge`."""

import sys

from sam_edge.cli import main

if __name__ == "__main__":
    sys.exit(main())
