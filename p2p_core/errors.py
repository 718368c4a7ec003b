"""The one exception that carries a sentence for the person at the canvas."""


class EditError(ValueError):
    """An edit that cannot be made as asked: the message names the input at fault and the way out."""
