"""What can keep a code from being checked. Being turned back is no problem: it is an answer."""

from shared.problems import Problem, Text


class ScanIdNotV7(Problem):
    """A scan id carries the time it was made, which files the visit."""

    status = 422
    code = "scan_id_not_v7"
    title = Text(zh="扫码编号须为 UUIDv7", en="A scan id must be a UUIDv7")
    fix = Text(zh="请由设备生成 UUIDv7（RFC 9562）", en="Generate a UUIDv7 (RFC 9562) on the device")


class ClockBehind(Problem):
    """The scan is more than a day old."""

    status = 422
    code = "clock_behind"
    title = Text(zh="扫码时间距今过久", en="The scan was made too long ago")
    fix = Text(
        zh="请校准设备时间；扫码记录须在 24 小时内送达",
        en="Correct the device's clock; a scan must arrive within 24 hours",
    )


class ScanIdTaken(Problem):
    """The same scan id came before, for another person or at another point."""

    status = 409
    code = "scan_id_taken"
    title = Text(zh="扫码编号已用于另一次验码", en="This scan id was already used for another verification")
    fix = Text(zh="每次扫码请用新的编号", en="Use a new id for each scan")


class ServicePointNotFound(Problem):
    """Nobody knows the service point that asks, or it is closed."""

    status = 404
    code = "service_point_not_found"
    title = Text(zh="没有此验码点", en="No such service point")
    fix = Text(zh="请核对设备绑定的验码点", en="Check which service point the device is bound to")
