"""A benchmark of edits: does the edit do what the words say, and leave the rest alone?"""
