"""The problems of the testing service. A refused item of a batch has the same codes."""

from collections.abc import Mapping

from shared.problems import LocalizedText, Problem

STATES: Mapping[str, LocalizedText] = {
    "planned": LocalizedText(zh="未开放", en="planned"),
    "closed": LocalizedText(zh="已结束", en="closed"),
    "cancelled": LocalizedText(zh="已取消", en="cancelled"),
    "open": LocalizedText(zh="进行中", en="open"),
    "sealed": LocalizedText(zh="已封管", en="sealed"),
    "packed": LocalizedText(zh="已装箱", en="packed"),
    "picked_up": LocalizedText(zh="已取走", en="picked up"),
    "in_transit": LocalizedText(zh="运送中", en="in transit"),
    "received": LocalizedText(zh="已签收", en="received"),
    "resulted": LocalizedText(zh="已出结果", en="resulted"),
    "discarded": LocalizedText(zh="已作废", en="discarded"),
}
"""The names of the states of rounds, tubes and boxes, for the texts of problems."""


class CampaignUnknown(Problem):
    """The campaign does not exist."""

    status = 422
    code = "campaign_unknown"
    title = LocalizedText(zh="未找到该采样轮次", en="Round not found")
    fix = LocalizedText(zh="请核对轮次编号", en="Check the campaign id")


class CampaignNotOpen(Problem):
    """The round does not accept samples now."""

    status = 409
    code = "campaign_not_open"
    title = LocalizedText(zh="本轮采样尚未开始或已结束", en="The round has not started or has ended")
    fix = LocalizedText(
        zh="请等待本轮开始，或选择正在进行的轮次", en="Wait until it starts, or choose a round that is open"
    )


class CampaignMoveForbidden(Problem):
    """The transition table of rounds has no such move from the current state."""

    status = 409
    code = "campaign_move_forbidden"
    title = LocalizedText(zh="该轮采样当前状态不允许此操作", en="Not allowed in the round's current state")
    what = LocalizedText(zh="该轮采样处于“{state}”状态，不能执行此操作", en="The round is {state}: this is not allowed")
    fix = LocalizedText(zh="请刷新后核对轮次状态", en="Reload the round and check its state")


class CampaignTooLarge(Problem):
    """One statement takes the snapshot of the people expected, so their number is limited."""

    status = 422
    code = "campaign_too_large"
    title = LocalizedText(zh="该轮采样人数过多", en="The round has too many people")
    what = LocalizedText(
        zh="该区域有 {people} 人，每轮最多 {most} 人",
        en="The region has {people} people; a round can have at most {most}",
    )
    fix = LocalizedText(zh="请按街道或社区分别建立轮次", en="Plan one round per township or community")


class RollOutsideCampaign(Problem):
    """Tubes are issued only within the region of the round."""

    status = 422
    code = "roll_outside_campaign"
    title = LocalizedText(zh="该区域不在本轮采样范围内", en="The region is outside this round")
    fix = LocalizedText(zh="请选择采样范围内的区域", en="Choose a region within the campaign's region")


class CapacityBeyondCampaign(Problem):
    """A tube may hold at most as many people as the pool size of the round."""

    status = 422
    code = "capacity_beyond_campaign"
    title = LocalizedText(zh="采样管容量超过本轮混采比例", en="The tube capacity exceeds the round's pool size")
    what = LocalizedText(zh="本轮混采比例为 {pool_size}:1", en="The pool size of this round is {pool_size}:1")
    fix = LocalizedText(zh="请发放容量不超过该比例的采样管", en="Issue tubes of that capacity or less")


class TubeUnknown(Problem):
    """The number was never issued, is mistyped, or belongs to another area or laboratory."""

    status = 422
    code = "tube_unknown"
    title = LocalizedText(zh="未找到该采样管", en="Tube not found")
    fix = LocalizedText(
        zh="请核对管号（末位为校验码），并确认该管已发放到本采样点，或已封管送往本检测机构",
        en="Check the number (the last digit is a check digit). The tube must be issued to your area, or sealed for "
        "your laboratory",
    )


class TubeOfOtherRound(Problem):
    """The tube belongs to another round."""

    status = 409
    code = "tube_of_other_round"
    title = LocalizedText(zh="采样管属于其他轮次", en="The tube belongs to another round")
    fix = LocalizedText(zh="请使用本轮发放的采样管", en="Use a tube that was issued for this round")


class TubeFull(Problem):
    """The tube already holds as many people as its capacity."""

    status = 409
    code = "tube_full"
    title = LocalizedText(zh="采样管已满", en="The tube is full")
    fix = LocalizedText(zh="请封管并换新管", en="Seal it and use a new tube")


class TubeSealed(Problem):
    """A sealed tube never changes."""

    status = 409
    code = "tube_sealed"
    title = LocalizedText(zh="采样管已封管", en="The tube is sealed")
    fix = LocalizedText(zh="请换新管", en="Use a new tube")


class TubeDiscarded(Problem):
    """The tube was lost or damaged. Its people must be swabbed again."""

    status = 409
    code = "tube_discarded"
    title = LocalizedText(zh="采样管已作废", en="The tube was discarded")
    fix = LocalizedText(zh="请用新管重新采样", en="Swab the person again with a new tube")


class TubeMoveForbidden(Problem):
    """The transition table of tubes has no such move from the current state."""

    status = 409
    code = "tube_move_forbidden"
    title = LocalizedText(zh="采样管当前状态不允许此操作", en="Not allowed in the tube's current state")
    what = LocalizedText(zh="采样管处于“{state}”状态，不能执行此操作", en="The tube is {state}: this is not allowed")
    fix = LocalizedText(zh="请刷新后核对采样管状态", en="Reload the tube and check its state")


class TwiceInRound(Problem):
    """A person is swabbed once in a round."""

    status = 409
    code = "twice_in_round"
    title = LocalizedText(zh="该人员本轮已采样", en="The person was already swabbed in this round")
    fix = LocalizedText(zh="无需重复采样", en="Do not swab the person again")


class SingleOnly(Problem):
    """A person under observation, or called to a retest, needs a single tube."""

    status = 409
    code = "single_only"
    title = LocalizedText(zh="该人员只能单采（一人一管）", en="This person needs a single tube (one person per tube)")
    fix = LocalizedText(zh="请使用单采管（1:1）", en="Use a single tube (1:1)")


class ResidentUnknown(Problem):
    """The person is not registered, or lives outside the caller's area."""

    status = 422
    code = "resident_unknown"
    title = LocalizedText(zh="本辖区未登记该人员", en="Person not found in your area")
    fix = LocalizedText(zh="请先登记人员信息，再重新提交该记录", en="Register the person, then send the record again")


class SampledBeforeCall(Problem):
    """A retest needs a swab taken after the result that requires it, also by the device's own clock."""

    status = 409
    code = "sampled_before_call"
    title = LocalizedText(zh="采样时间早于复核通知", en="The swab was taken before the retest was ordered")
    fix = LocalizedText(
        zh="该人员仍需单采复核，请校准设备时间后重新提交",
        en="The person still needs the retest. Correct the device's clock and send the record again",
    )


class SampleIdTaken(Problem):
    """Another record has this id."""

    status = 409
    code = "sample_id_taken"
    title = LocalizedText(zh="样本编号已被其他记录使用", en="Another record already uses this sample id")
    fix = LocalizedText(zh="请为每份样本使用新的编号", en="Use a new id for each sample")


class SampledBeforeRound(Problem):
    """The time of the swab is before the start of its round."""

    status = 422
    code = "sampled_before_round"
    title = LocalizedText(zh="采样时间早于本轮开始时间", en="The swab was taken before the round started")
    fix = LocalizedText(zh="请核对设备时间和轮次", en="Check the device's clock and the round")


class NotInManifest(Problem):
    """The list of samples in the seal does not contain this sample."""

    status = 409
    code = "not_in_manifest"
    title = LocalizedText(zh="封管清单中没有该样本", en="The sample is not on the seal's list")
    fix = LocalizedText(
        zh="记录已留存，请用新管重新采样", en="The record is kept. Swab the person again with a new tube"
    )


class ManifestWrong(Problem):
    """The list of the seal contains samples that are in another tube or were undone."""

    status = 409
    code = "manifest_wrong"
    title = LocalizedText(zh="封管清单有误", en="The seal's sample list is wrong")
    what = LocalizedText(
        zh="封管清单中有 {count} 份样本已撤销或在其他管中",
        en="{count} samples in the list were undone or are in another tube",
    )
    fix = LocalizedText(zh="请核对管内样本后重新封管", en="Compare the list with the tube, then seal again")


class SealDiffers(Problem):
    """The tube is already sealed with another list."""

    status = 409
    code = "seal_differs"
    title = LocalizedText(zh="采样管已按另一清单封管", en="The tube is already sealed with another sample list")
    fix = LocalizedText(zh="请与另一设备的封管清单核对", en="Compare it with the sample list of the other device")


class TubeNotSealed(Problem):
    """A result needs a sealed tube, because only the seal fixes the people in it."""

    status = 409
    code = "tube_not_sealed"
    title = LocalizedText(zh="采样管尚未封管", en="The tube is not sealed")
    fix = LocalizedText(zh="请先封管（离线设备请先上传）", en="Seal it first. Offline devices must upload first")


class TubeNotReceived(Problem):
    """A laboratory reports results only of tubes it has received."""

    status = 409
    code = "tube_not_received"
    title = LocalizedText(zh="采样管尚未签收", en="The tube has not been received")
    fix = LocalizedText(zh="请先签收样本箱", en="Confirm receipt of its box first")


class ResultOutdated(Problem):
    """A result of the same or a higher revision is in force."""

    status = 409
    code = "result_outdated"
    title = LocalizedText(zh="已有更新的检测结果", en="A newer result exists")
    what = LocalizedText(zh="已有第 {revision} 版结果", en="Revision {revision} is in force")
    fix = LocalizedText(zh="如需更正，请使用更高的版本号", en="To correct it, send a higher revision")


class BoxMoveForbidden(Problem):
    """The transition table of boxes has no such move from the current state."""

    status = 409
    code = "box_move_forbidden"
    title = LocalizedText(zh="样本箱当前状态不允许此操作", en="Not allowed in the box's current state")
    what = LocalizedText(zh="样本箱处于“{state}”状态，不能执行此操作", en="The box is {state}: this is not allowed")
    fix = LocalizedText(zh="请刷新后核对样本箱状态", en="Reload the box and check its state")


class BoxTubesUnfit(Problem):
    """A box takes only sealed tubes that are in no other box and go to its laboratory."""

    status = 409
    code = "box_tubes_unfit"
    title = LocalizedText(zh="部分采样管不能装箱", en="Some tubes cannot go into this box")
    fix = LocalizedText(zh="请取出 errors 所列的采样管后重试", en="Remove the tubes listed in `errors` and try again")
