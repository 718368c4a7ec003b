"""`python -m p2p_core SOURCE EDIT`: an edit from the command line; `python -m p2p_core pairs`: many, as a data set.

`--help` shows everything.
"""

import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["pairs"]:
        from .pairs.run import main

        sys.exit(main(sys.argv[2:]))
    from .command.run import main

    sys.exit(main())
