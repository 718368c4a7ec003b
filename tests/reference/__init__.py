"""What the engine has to equal, written out the long way: attention maps made, kept and edited."""
