"""Run ComfyUI's main.py, and end with whoever started it: usage, python tethered.py main.py [arguments].

Standard input is a pipe whose other end the starter holds. It closes when the starter goes, even if it was
killed and could clean nothing up, and on every system.
"""

import os
import runpy
import sys
import threading


def end_with_starter() -> None:
    while os.read(0, 1):  # unbuffered: a lock held on sys.stdin would upset the interpreter's own end
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_starter, daemon=True).start()
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
