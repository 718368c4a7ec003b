"""The small model that ships with the pack: its file, its scenes, its training."""
