"""Data sets of edit pairs, as InstructPix2Pix (Brooks et al. 2023, section 3.1) is trained on: from captions to shards.

As it flows: `reading` or `captions` give lines, `request` makes them pairs of captions, `instructions` says what to do,
`plan` decides all that is random, `together` and `drawing` make pictures, `filtering` and `clip` choose among them,
`rows` and `shards` keep them, and `again` draws one of them once more. `task` is all of that for a few pairs, `run` for
all of them, `cluster` on several machines; `tally`, `report`, `sheet` and `card` tell what became of them.
"""
