"""What can go wrong between a swab and its result. The codes of single items in batches are the same."""

from collections.abc import Mapping

from shared.problems import Problem, Text

STATES: Mapping[str, Text] = {
    "planned": Text(zh="未开放", en="planned"),
    "closed": Text(zh="已结束", en="closed"),
    "cancelled": Text(zh="已取消", en="cancelled"),
    "open": Text(zh="进行中", en="open"),
    "sealed": Text(zh="已封管", en="sealed"),
    "packed": Text(zh="已装箱", en="packed"),
    "picked_up": Text(zh="已取走", en="picked up"),
    "in_transit": Text(zh="运送中", en="on its way"),
    "received": Text(zh="已签收", en="received"),
    "resulted": Text(zh="已出结果", en="resulted"),
    "discarded": Text(zh="已作废", en="discarded"),
}
"""The states of rounds, tubes and boxes, as sentences say them."""


class CampaignUnknown(Problem):
    """There is no such round."""

    status = 422
    code = "campaign_unknown"
    title = Text(zh="没有该轮采样", en="No such round of sampling")
    fix = Text(zh="请核对轮次编号", en="Check the id of the campaign")


class CampaignNotOpen(Problem):
    """The round does not take samples now."""

    status = 409
    code = "campaign_not_open"
    title = Text(zh="本轮采样尚未开始或已结束", en="The round has not begun, or has ended")
    fix = Text(zh="请等待开始，或选择正在进行的轮次", en="Wait until it begins, or use the round that is open")


class CampaignMoveForbidden(Problem):
    """A round goes planned, open, closed; cancelled before it is closed."""

    status = 409
    code = "campaign_move_forbidden"
    title = Text(zh="该轮采样当前状态不允许此操作", en="The round's state does not allow this")
    what = Text(zh="该轮采样处于“{state}”状态，不能执行此操作", en="The round is {state}, which does not allow this")
    fix = Text(zh="请刷新后核对轮次状态", en="Fetch the round again and look at its state")


class CampaignTooLarge(Problem):
    """The people of one round are counted in one statement, which has its limit."""

    status = 422
    code = "campaign_too_large"
    title = Text(zh="该轮采样人数过多", en="The round has too many people")
    what = Text(
        zh="该区域有 {people} 人，每轮最多 {most} 人",
        en="The region has {people} people; a round can have at most {most}",
    )
    fix = Text(zh="请按街道或社区分别建立轮次", en="Plan a round for each township or community")


class RollOutsideCampaign(Problem):
    """Tubes are issued to places that take part in the round."""

    status = 422
    code = "roll_outside_campaign"
    title = Text(zh="该区域不在本轮采样范围内", en="The region is not part of this round")
    fix = Text(zh="请选择采样范围内的区域", en="Choose a region under the campaign's region")


class CapacityBeyondCampaign(Problem):
    """No tube may mix more people than the round's pool size."""

    status = 422
    code = "capacity_beyond_campaign"
    title = Text(zh="管容量超过本轮混采比例", en="The tubes are larger than the pool size of the round")
    what = Text(zh="本轮混采比例为 {pool_size}:1", en="The pool size of this round is {pool_size}:1")
    fix = Text(zh="请发放不超过该比例的采样管", en="Issue tubes of that size or smaller")


class TubeUnknown(Problem):
    """The number was never issued, is mistyped, or belongs to another area or laboratory."""

    status = 422
    code = "tube_unknown"
    title = Text(zh="系统中没有这个管号", en="No tube with this number")
    fix = Text(
        zh="请核对管号（末位是校验码），并确认此管已发给本采样点，或已封管送往本检测机构",
        en="Check the number (its last digit is a check digit), and that the tube was issued to your place or sealed "
        "for your laboratory",
    )


class TubeOfOtherRound(Problem):
    """The tube was issued for another round."""

    status = 409
    code = "tube_of_other_round"
    title = Text(zh="采样管属于其他轮次", en="The tube belongs to another round")
    fix = Text(zh="请使用本轮发放的采样管", en="Use a tube that was issued for this round")


class TubeFull(Problem):
    """The tube holds as many people as it may."""

    status = 409
    code = "tube_full"
    title = Text(zh="采样管已满", en="The tube is full")
    fix = Text(zh="请封管并换新管", en="Seal it and take a new tube")


class TubeSealed(Problem):
    """A sealed tube never changes."""

    status = 409
    code = "tube_sealed"
    title = Text(zh="采样管已封管", en="The tube is sealed")
    fix = Text(zh="请换新管", en="Take a new tube")


class TubeDiscarded(Problem):
    """The tube was lost or damaged; its people are called again."""

    status = 409
    code = "tube_discarded"
    title = Text(zh="采样管已作废", en="The tube was discarded")
    fix = Text(zh="请用新管重新采样", en="Swab the person again with a new tube")


class TubeMoveForbidden(Problem):
    """The tube's state does not allow this step."""

    status = 409
    code = "tube_move_forbidden"
    title = Text(zh="采样管当前状态不允许此操作", en="The tube's state does not allow this")
    what = Text(zh="采样管处于“{state}”状态，不能执行此操作", en="The tube is {state}, which does not allow this")
    fix = Text(zh="请刷新后核对采样管状态", en="Fetch the tube again and look at its state")


class TwiceInRound(Problem):
    """Nobody is swabbed twice in a round."""

    status = 409
    code = "twice_in_round"
    title = Text(zh="该人员本轮已采样", en="The person was already swabbed in this round")
    fix = Text(zh="无需重复采样", en="You do not need to swab again")


class SingleOnly(Problem):
    """Who is under observation or called to a retest is swabbed into a tube of their own."""

    status = 409
    code = "single_only"
    title = Text(zh="该人员只能单采（一人一管）", en="This person must have a single tube (one person, one tube)")
    fix = Text(zh="请使用单采管（1:1）", en="Use a single tube (1:1)")


class ResidentUnknown(Problem):
    """The person is not in the register, or not in the caller's area."""

    status = 422
    code = "resident_unknown"
    title = Text(zh="辖区内没有该人员", en="No such person in your area")
    fix = Text(zh="请先登记人员信息，再重新提交该记录", en="Register the person first, then send the record again")


class SampledBeforeCall(Problem):
    """Who is called to a retest is swabbed after the result that calls for it, by the device's own clock too."""

    status = 409
    code = "sampled_before_call"
    title = Text(zh="采样时间早于复核通知", en="The swab was taken before the retest was ordered")
    fix = Text(
        zh="该人员需单采复核；请校准设备时间后重新提交",
        en="The person still needs the retest; correct the device's clock and send it again",
    )


class SampleIdTaken(Problem):
    """The id belongs to another record."""

    status = 409
    code = "sample_id_taken"
    title = Text(zh="样本编号已被其他记录使用", en="This sample id was already used for another record")
    fix = Text(zh="请为每份样本使用新的编号", en="Use a new id for each sample")


class SampledBeforeRound(Problem):
    """The record is older than the round it claims to belong to."""

    status = 422
    code = "sampled_before_round"
    title = Text(zh="采样时间早于本轮开始时间", en="The sample was taken before the round began")
    fix = Text(zh="请核对设备时间和轮次", en="Check the device's clock and the round")


class NotInManifest(Problem):
    """The tube was sealed with a list of its samples, and this is not one of them."""

    status = 409
    code = "not_in_manifest"
    title = Text(zh="封管清单中没有该样本", en="The sample is not in the list of the seal")
    fix = Text(zh="记录已留存；请用新管重新采样", en="The record is kept; swab the person again with a new tube")


class ManifestWrong(Problem):
    """A manifest lists samples that are in another tube, or were undone."""

    status = 409
    code = "manifest_wrong"
    title = Text(zh="封管清单有误", en="The sample list of the seal is wrong")
    what = Text(
        zh="封管清单中有 {count} 份样本已撤销或在其他管中",
        en="{count} samples in the list were undone or are in another tube",
    )
    fix = Text(zh="请核对管内样本后重新封管", en="Compare the list with the tube and seal again")


class SealDiffers(Problem):
    """The tube was sealed with another manifest."""

    status = 409
    code = "seal_differs"
    title = Text(zh="采样管已按另一清单封管", en="The tube was already sealed with another sample list")
    fix = Text(zh="请核对另一设备的封管清单", en="Compare with the sample list of the other device")


class TubeNotSealed(Problem):
    """A laboratory's result needs a tube whose people are fixed."""

    status = 409
    code = "tube_not_sealed"
    title = Text(zh="采样管尚未封管", en="The tube is not sealed")
    fix = Text(zh="请先封管（离线设备请先上传）", en="Seal it first; offline devices must upload first")


class TubeNotReceived(Problem):
    """A laboratory reports on what it has received."""

    status = 409
    code = "tube_not_received"
    title = Text(zh="采样管尚未签收", en="The tube has not been received yet")
    fix = Text(zh="请先签收样本箱", en="Receive its box first")


class ResultOutdated(Problem):
    """A result of the same or a higher revision is in force."""

    status = 409
    code = "result_outdated"
    title = Text(zh="已有更新的检测结果", en="A newer result already exists")
    what = Text(zh="已有第 {revision} 版结果", en="Revision {revision} already exists")
    fix = Text(zh="如需更正，请使用更高的版本号", en="To correct it, send a higher revision")


class BoxMoveForbidden(Problem):
    """A box goes packed, picked up, in transit, received."""

    status = 409
    code = "box_move_forbidden"
    title = Text(zh="样本箱当前状态不允许此操作", en="The box's state does not allow this")
    what = Text(zh="样本箱处于“{state}”状态，不能执行此操作", en="The box is {state}, which does not allow this")
    fix = Text(zh="请刷新后核对样本箱状态", en="Fetch the box again and look at its state")


class BoxTubesUnfit(Problem):
    """Only sealed tubes that are in no other box travel."""

    status = 409
    code = "box_tubes_unfit"
    title = Text(zh="有采样管不能装箱", en="Some tubes cannot travel in this box")
    fix = Text(zh="请取出 errors 所列的采样管后重试", en="Take out the tubes listed in `errors` and try again")
