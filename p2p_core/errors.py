"""The one exception that carries a sentence for the person at the canvas."""

from __future__ import annotations


class EditError(ValueError):
    """An edit that cannot be made as asked.

    Its text is `input: problem remedy`, in words for the person who asked; hosts add where the input is to be found.

    Args:
        input: the name of the input at fault; empty where no single one is.
        problem: what is wrong: a sentence, which begins in lower case or with a quotation.
        remedy: what to do about it, a sentence or more.
    """

    def __init__(self, input: str, problem: str, remedy: str = ""):
        self.input, self.problem, self.remedy = input, problem, remedy
        said = " ".join(filter(None, (problem, remedy)))
        super().__init__(f"{input}: {said}" if input else said)

    def of(self, input: str) -> EditError:
        """The same of another input, for those that hand a value on under a name of their own."""
        return EditError(input, self.problem, self.remedy)
