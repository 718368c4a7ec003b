"""The ways in without a canvas: the command line, the notebook's function, and the workflow that pictures carry."""
