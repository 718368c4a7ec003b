"""A folder for each host, the only one that imports it.

Each reads prompts (`encode`), knows its models' attention layers, hangs a run on them and lets go of it again.
"""
