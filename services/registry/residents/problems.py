"""The problems of residents, registrations and transfers."""

from shared.problems import LocalizedText, Problem


class ResidentExists(Problem):
    """The person is registered within the caller's scope. A registration elsewhere is never revealed."""

    status = 409
    code = "resident_exists"
    title = LocalizedText(zh="该人员已登记", en="The person is already registered")
    what = LocalizedText(
        zh="该人员已在辖区内登记，编号 {resident_id}",
        en="The person is already registered in your region as {resident_id}",
    )
    fix = LocalizedText(
        zh="请修改已有档案；如已搬家，请办理迁移", en="Change that record. If the person has moved, use move"
    )


class ResidentClosed(Problem):
    """The record is closed, and the person is not counted."""

    status = 409
    code = "resident_closed"
    title = LocalizedText(zh="该人员档案已注销", en="The person's record is closed")
    fix = LocalizedText(zh="如系误操作，请先恢复", en="If it was closed by mistake, reopen it")


class ResidentActive(Problem):
    """The record is not closed."""

    status = 409
    code = "resident_active"
    title = LocalizedText(zh="该人员档案未注销", en="The person's record is not closed")
    fix = LocalizedText(zh="无需恢复", en="No action is needed")


class RevealLimit(Problem):
    """The caller has viewed unmasked data too often, because routine work does not need it for many people."""

    status = 429
    code = "reveal_limit"
    title = LocalizedText(zh="查看未遮盖信息过于频繁", en="Unmasked data viewed too often")
    what = LocalizedText(
        zh="每小时最多查看 {limit} 次未遮盖信息", en="You can view unmasked data at most {limit} times an hour"
    )
    fix = LocalizedText(
        zh="请 {retry_after}后再试；查看已遮盖信息不受限制",
        en="Try again in {retry_after}. Masked data has no such limit",
    )


class TransferOpen(Problem):
    """An open transfer of the person to that region exists."""

    status = 409
    code = "transfer_open"
    title = LocalizedText(zh="该迁移已在办理中", en="This transfer is already in progress")
    fix = LocalizedText(zh="请等待对方答复", en="Wait for the other region's answer")


class TransferDecided(Problem):
    """The transfer was already accepted or refused."""

    status = 409
    code = "transfer_decided"
    title = LocalizedText(zh="该迁移已有答复", en="The transfer has already been decided")
    fix = LocalizedText(zh="请刷新后查看", en="Reload the transfer to see the decision")
