"""Lines of JSON, one an edit and method, appended as they are made."""

from __future__ import annotations

import json
from pathlib import Path


def read(folder: Path, name: str) -> list[dict]:
    """Of every process that has made a part."""
    return [json.loads(line) for path in sorted(folder.glob(f"{name}-*.jsonl")) for line in path.open()]
