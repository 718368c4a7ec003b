"""`python -m p2p_core SOURCE EDIT`: an edit from the command line. `--help` shows everything."""

import sys

from .command.run import main

if __name__ == "__main__":
    sys.exit(main())
