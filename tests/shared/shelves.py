"""A problem to test problems by."""

from shared.problems import LocalizedText, Problem


class ShelfFull(Problem):
    """A problem of these tests."""

    status = 409
    code = "test_shelf_full"
    title = LocalizedText(zh="架子已满", en="The shelf is full")
    fix = LocalizedText(zh="请换 {number}", en="Use {number}")
