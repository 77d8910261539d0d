"""Orders: what can keep them from being ended, extended or converted."""

from shared.problems import Problem, Text


class OrderEnded(Problem):
    """The order is not open any more."""

    status = 409
    code = "order_ended"
    title = Text(zh="该医学观察已结束", en="The observation has ended")
    fix = Text(zh="请刷新后查看", en="Fetch the order again to see its state")


class OrderGroundChanged(Problem):
    """Another positive has come since, or one was taken back: what was judged is not what it rests on now."""

    status = 409
    code = "order_ground_changed"
    title = Text(zh="医学观察的依据已有变化", en="The ground for the observation has changed")
    fix = Text(zh="请重新查看后另行提出", en="Check the order; if it is still needed, make a new proposal")


class OrderDaysIncomplete(Problem):
    """Its days are not complete."""

    status = 409
    code = "order_days_incomplete"
    title = Text(zh="观察期未满", en="The observation period is not over")
    what = Text(zh="观察期满时间为 {ends_at}", en="The observation period ends at {ends_at}")
    fix = Text(
        zh="请期满后再解除；确需提前的，请提出申请，由指挥部审批",
        en="End it when the period is over, or propose an early end",
    )


class OrderTestsMissing(Problem):
    """A test of the protocol is not negative yet."""

    status = 409
    code = "order_tests_missing"
    title = Text(zh="规定的核酸检测未完成", en="Tests required by the protocol are missing")
    what = Text(zh="缺第 {days} 天的阴性单采结果", en="The negative single-tube result of day {days} is missing")
    fix = Text(
        zh="请补采单管，结果阴性后再解除",
        en="Take another single-tube sample; end the observation when its result is negative",
    )


class OrderRoomUnconfirmed(Problem):
    """Home observation needs a room of one's own."""

    status = 409
    code = "order_room_unconfirmed"
    title = Text(zh="未确认单人单间", en="A separate room is not confirmed")
    fix = Text(
        zh="请上门确认有单独房间后填写 own_room", en="Check at a home visit that there is one, then set own_room"
    )


class OrderTooLong(Problem):
    """It was extended by more than anybody may be held."""

    status = 409
    code = "order_extra_days"
    title = Text(zh="延长天数过多", en="Too many extra days")
    what = Text(zh="累计延长不得超过 {most} 天", en="At most {most} days may be added in total")
    fix = Text(zh="请由指挥部研判", en="Ask the command to decide on the case")
