"""What stops the operator, told in one sentence."""

DEBUG = "FANGXIAN_DEBUG"
"""In the environment: tell also where it was that the operating system refused what nobody foresaw."""


class Trouble(Exception):  # noqa: N818 (it is what it says)
    """One clear sentence for the operator."""


def in_words(error: OSError) -> str:
    """What the operating system refuses, in one sentence."""
    what = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {what}." if error.filename else f"{what}."
