"""One real ComfyUI with this pack, until Ctrl-C. Arguments are ComfyUI's own, e.g. --port 8188."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.comfy_server import Server, ServerError


def main(arguments: list[str]) -> int:
    server = Server(*arguments)
    try:
        server.start(echo=True)
        print(f"\nOpen {server.url}   (Ctrl-C stops it; pictures and workflows saved there go with it)\n", flush=True)
        return server.process.wait()
    except KeyboardInterrupt:
        return 0
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
