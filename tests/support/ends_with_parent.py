"""Run ComfyUI's main.py, and end with the process that started it.

python ends_with_parent.py FOLDER main.py [arguments]        FOLDER is the server's own, and goes with it

Standard input is a pipe whose other end the parent holds. It closes when the parent goes, even if it was
killed and could clean nothing up, and on every system.
"""

import os
import runpy
import shutil
import sys
import threading


def end_with_parent(folder: str) -> None:
    while os.read(0, 1):  # unbuffered: a lock held on sys.stdin would upset the interpreter's own end
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, args=(sys.argv[1],), daemon=True).start()
    sys.argv = sys.argv[2:]
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
