"""Edits of many variants: grids of settings, the study of layers, and batches that fit into memory."""
