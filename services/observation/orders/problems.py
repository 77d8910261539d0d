"""The problems of orders."""

from shared.problems import LocalizedText, Problem


class OrderEnded(Problem):
    """The order is not open."""

    status = 409
    code = "order_ended"
    title = LocalizedText(zh="该医学观察已结束", en="The observation has ended")
    fix = LocalizedText(zh="请刷新后查看", en="Reload the order to see its state")


class OrderGroundChanged(Problem):
    """The exposures changed after the proposal, so the order no longer has the ground that was judged."""

    status = 409
    code = "order_ground_changed"
    title = LocalizedText(zh="医学观察的依据已有变化", en="The ground for the observation has changed")
    fix = LocalizedText(zh="请重新核对后另行提出", en="Check the order, then make a new proposal if it is still needed")


class OrderDaysIncomplete(Problem):
    """The days of the order are not complete."""

    status = 409
    code = "order_days_incomplete"
    title = LocalizedText(zh="观察期未满", en="The observation period is not over")
    what = LocalizedText(zh="观察期满时间为 {ends_at}", en="The observation period ends at {ends_at}")
    fix = LocalizedText(
        zh="请期满后再解除；确需提前解除的，请提出申请，由指挥部审批",
        en="End it after the period, or propose an early end",
    )


class OrderTestsMissing(Problem):
    """A test of the protocol has no negative result yet."""

    status = 409
    code = "order_tests_missing"
    title = LocalizedText(zh="规定的核酸检测未完成", en="Required tests are missing")
    what = LocalizedText(
        zh="缺第 {days} 天的阴性单采结果", en="The negative single-tube result of day {days} is missing"
    )
    fix = LocalizedText(
        zh="请补采单管，结果为阴性后再解除",
        en="Take another single-tube sample. End the observation when its result is negative",
    )


class OrderRoomUnconfirmed(Problem):
    """Home observation needs a separate room."""

    status = 409
    code = "order_room_unconfirmed"
    title = LocalizedText(zh="未确认单人单间", en="A separate room is not confirmed")
    fix = LocalizedText(
        zh="请上门确认有单独房间后填写 own_room", en="Confirm the room at a home visit, then set own_room"
    )


class OrderTooLong(Problem):
    """The total extension exceeds the limit."""

    status = 409
    code = "order_extra_days"
    title = LocalizedText(zh="延长天数过多", en="Too many extra days")
    what = LocalizedText(zh="累计延长不得超过 {most} 天", en="At most {most} days can be added in total")
    fix = LocalizedText(zh="请报指挥部研判", en="Ask the command to decide the case")
