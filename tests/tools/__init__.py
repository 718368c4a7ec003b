"""Programs that developers run; each says how in its first lines."""
