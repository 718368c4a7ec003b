"""Prompt-to-prompt (Hertz et al. 2022) on values instead of attention maps.

The engine lies flat in this folder and needs torch alone. Read it as the data flows:

    tokens, words         a prompt as its text encoders see it
    alignment             which of the source's tokens each token of an edit stands for: `A`
    schedule, blend       when, how strongly and in which layers; where
    picture               how edits are held to a real picture
    edit                  all of that as a value: what travels between nodes
    step                  what it is at one step: `a`, `w`, and what each layer injects
    values, attention     the method itself: maps on values, and a call with the edits in it
    maps, predictions     the words' maps, and rules on the denoised prediction
    run                   one sampling run: the only state
    recording, replay     a source that was sampled before: what is kept of it, and how a run takes it from there
    layers, architecture, rows, noise: what is known of the model and of the batch

Words, each for one thing: the *source* is the picture that is edited, an *edit* is an edited prompt with all its
settings; an `Edit` value holds one source and its *variants*. An *alignment* pairs tokens. *Injection* takes
attention from the source, inside of a *window* of steps, with a *strength*; *reweighting* multiplies a word's map.
A *local blend* holds an edit to a mask. A *step* is one of sampling, a *round* all that its sampler asks the model at
once, an *evaluation* one pass of all rows through the model, a *call* one layer's attention in it, a *batch* the
pictures of one prompt. A *companion* has the source's prompt on an edit's latent. A *recording* is a source that was
sampled before.

Round the engine, each folder with what it is for in its docstring: spelling, trials, demo, show, hosts, command,
pairs. A folder imports from the engine, and from those to its left; `hosts/comfy` alone imports ComfyUI,
`hosts/diffusers` and `demo` alone diffusers, `show`, `command` and `pairs` alone (beside `demo`) Pillow, `pairs` alone
pyarrow and Ray. tests/unit/test_house.py holds us to it.
"""
