"""`python -m p2p_core.pairs`: a data set of edit pairs. `--help` shows everything."""

import sys

from .run import main

if __name__ == "__main__":
    sys.exit(main())
