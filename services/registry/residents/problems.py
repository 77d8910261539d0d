"""Residents: what can keep a request from being done."""

from shared.problems import Problem, Text


class ResidentExists(Problem):
    """The person is registered within the caller's own scope. Who lives elsewhere is never told of."""

    status = 409
    code = "resident_exists"
    title = Text(zh="该人员已登记", en="The person is already registered")
    what = Text(
        zh="该人员已在辖区内登记，编号 {resident_id}",
        en="The person is already registered in your region as {resident_id}",
    )
    fix = Text(zh="请修改已有的记录；搬家请用迁移", en="Change that record; if the person has moved, use move")


class ResidentClosed(Problem):
    """The person is counted no more."""

    status = 409
    code = "resident_closed"
    title = Text(zh="该人员档案已注销", en="The person's record is closed")
    fix = Text(zh="如系误操作，请先恢复", en="If it was closed by mistake, reopen it first")


class ResidentActive(Problem):
    """The record is open already."""

    status = 409
    code = "resident_active"
    title = Text(zh="该人员档案未注销", en="The person's record is not closed")
    fix = Text(zh="无需恢复", en="You do not need to do anything")


class RevealLimit(Problem):
    """Who needs to see many people in clear does something else than the register is for."""

    status = 429
    code = "reveal_limit"
    title = Text(zh="查看明文过于频繁", en="You have viewed unmasked data too often")
    what = Text(zh="每小时最多查看 {limit} 次明文", en="Unmasked data can be viewed at most {limit} times an hour")
    fix = Text(
        zh="请 {retry_after}后再试；查看脱敏信息不受限制",
        en="Try again in {retry_after}; masked data has no such limit",
    )


class TransferOpen(Problem):
    """The person is already on the way to that region."""

    status = 409
    code = "transfer_open"
    title = Text(zh="该迁移已在办理中", en="This transfer is already under way")
    fix = Text(zh="请等待对方答复", en="Wait for the other region's answer")


class TransferDecided(Problem):
    """Somebody decided it already."""

    status = 409
    code = "transfer_decided"
    title = Text(zh="该迁移已有答复", en="The transfer has already been decided")
    fix = Text(zh="请刷新后查看", en="Fetch the transfer again to see the answer")
