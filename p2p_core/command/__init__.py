"""The command line: its options, what it does with them, and the workflow that its pictures carry."""
