"""Errors that are shown to the operator in one sentence."""

DEBUG = "FANGXIAN_DEBUG"
"""Environment variable: also print the traceback of an unexpected error of the operating system."""


class Trouble(Exception):  # noqa: N818 (it is shown to the operator, not a defect)
    """An expected error; its text is one clear sentence for the operator."""


def in_words(error: OSError) -> str:
    """Describe an error of the operating system in one sentence."""
    what = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {what}." if error.filename else f"{what}."
