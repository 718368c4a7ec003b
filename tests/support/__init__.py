"""What tests and tools share: graphs, small models, a ComfyUI of their own, and its client."""
