"""Edits of real pictures: drawn ones, whose true edit can be drawn."""
