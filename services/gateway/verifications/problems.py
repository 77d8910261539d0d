"""Problems of verifications. A verdict of `turn_back` is a normal answer, not a problem."""

from shared.problems import LocalizedText, Problem


class ScanIdNotV7(Problem):
    """A scan id is not a UUIDv7. The time inside the id decides where the visit is stored."""

    status = 422
    code = "scan_id_not_v7"
    title = LocalizedText(zh="扫码编号须为 UUIDv7", en="The scan id is not a UUIDv7")
    fix = LocalizedText(zh="请由设备生成 UUIDv7（RFC 9562）", en="Generate a UUIDv7 (RFC 9562) on the device")


class ClockBehind(Problem):
    """The scan is more than a day old."""

    status = 422
    code = "clock_behind"
    title = LocalizedText(zh="扫码时间已超过 24 小时", en="The scan is older than 24 hours")
    fix = LocalizedText(
        zh="请校准设备时间；扫码记录须在 24 小时内上传",
        en="Correct the clock of the device. A scan must be sent within 24 hours",
    )


class ScanIdTaken(Problem):
    """The scan id is already stored for another person or another point."""

    status = 409
    code = "scan_id_taken"
    title = LocalizedText(zh="扫码编号已用于另一次验码", en="This scan id was already used for another verification")
    fix = LocalizedText(zh="每次扫码请用新的编号", en="Use a new id for each scan")


class ServicePointNotFound(Problem):
    """The service point is unknown or closed."""

    status = 404
    code = "service_point_not_found"
    title = LocalizedText(zh="验码点不存在或已关闭", en="The service point does not exist or is closed")
    fix = LocalizedText(zh="请核对设备绑定的验码点", en="Check the service point of this device")
