"""Prompt-to-prompt (Hertz et al. 2022) on values instead of attention maps. Torch only; no host."""
