"""What data sets of pairs cost and are worth."""

from .. import judge  # noqa: F401 - makes p2p_core importable beside a ComfyUI
