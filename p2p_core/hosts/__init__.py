"""One file for each host; the only ones that know it."""
