"""What stops the operator, told in one sentence."""


class Trouble(Exception):  # noqa: N818 (it is what it says)
    """One clear sentence for the operator, and the exit code of the command that met it."""

    def __init__(self, sentence: str, code: int = 1) -> None:
        super().__init__(sentence)
        self.code = code


def in_words(error: OSError) -> str:
    """What the operating system refuses, in one sentence."""
    what = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {what}." if error.filename else f"{what}."
