"""The problems any operation can meet, by status."""

from shared.problems.problem import Problem
from shared.problems.texts import Language, Text, sentences


class MalformedUrl(Problem):
    """The address holds what no address may: a NUL character, or bytes that are not UTF-8."""

    status = 400
    code = "malformed_url"
    title = Text(zh="网址无法识别", en="The URL cannot be read")
    fix = Text(
        zh="请把路径和查询参数按 UTF-8 编码，且不要含空字符",
        en="Encode path and query as UTF-8, without NUL characters",
    )


class MalformedRequest(Problem):
    """The request breaks HTTP itself."""

    status = 400
    code = "malformed_request"
    title = Text(zh="请求无法识别", en="The request cannot be understood")
    fix = Text(zh="请检查请求的格式后重发", en="Check the format of the request and send it again")


class MalformedJson(Problem):
    """The body is not JSON that can have only one meaning (RFC 8259, I-JSON)."""

    status = 400
    code = "malformed_json"
    title = Text(zh="请求体不是有效的 JSON", en="The body is not valid JSON")
    what = Text(zh="请求体不是有效的 JSON：{reason}", en="The body is not valid JSON: {reason}")
    fix = Text(zh="请改正后重发", en="Correct it and send it again")


class Unauthenticated(Problem):
    """Nobody knows who asks."""

    status = 401
    code = "unauthenticated"
    title = Text(zh="登录已失效", en="You are not signed in, or your session has expired")
    fix = Text(zh="请重新登录", en="Sign in again")
    headers = {"WWW-Authenticate": 'Bearer realm="fangxian"'}  # noqa: RUF012


class Forbidden(Problem):
    """The caller is known but may not do this."""

    status = 403
    code = "forbidden"
    title = Text(zh="无权进行此操作", en="You have no permission for this")
    fix = Text(zh="请由有相应角色和辖区的人员操作", en="Ask a person who has the role and the region for it")
    to_residents = Text(
        zh="您没有此项权限\n如需办理，请联系所在社区",
        en="You have no permission for this\nYour community can help you with it",
    )


class NotFound(Problem):
    """There is no such thing, or none that the caller may see."""

    status = 404
    code = "not_found"
    title = Text(zh="未找到", en="Not found")
    fix = Text(zh="请核对编号，以及它是否在您的辖区内", en="Check the id, and whether it is in your region")
    to_residents = Text(zh="没有找到相关信息", en="Nothing was found")


class NoSuchPath(Problem):
    """The address leads nowhere."""

    status = 404
    code = "no_such_path"
    title = Text(zh="没有这个接口", en="No such path")
    fix = Text(zh="请对照 /openapi.json 核对路径", en="Compare the path with /openapi.json")


class MethodNotAllowed(Problem):
    """The address exists, but not for this method."""

    status = 405
    code = "method_not_allowed"
    title = Text(zh="此接口不支持该方法", en="This path does not support the method")
    fix = Text(zh="请改用 {allow}", en="Use {allow}")
    headers = {"Allow": "{allow}"}  # noqa: RUF012


class NotAcceptable(Problem):
    """The caller wants an answer in a format we do not speak."""

    status = 406
    code = "not_acceptable"
    title = Text(zh="无法给出所要求的格式", en="The requested format is not available")
    fix = Text(zh="请在 Accept 头中允许 {offered}", en="Allow {offered} in the Accept header")


class Conflict(Problem):
    """What is asked for contradicts what is recorded."""

    status = 409
    code = "conflict"
    title = Text(zh="与已有记录冲突", en="This conflicts with an existing record")
    fix = Text(zh="请刷新后核对再提交", en="Fetch the record again, compare, then decide")


class VersionMismatch(Problem):
    """Somebody else changed it in the meantime."""

    status = 412
    code = "version_mismatch"
    title = Text(zh="内容已被他人修改", en="Somebody changed it in the meantime")
    fix = Text(
        zh="请重新读取，并用新的 ETag 作为 If-Match 再提交", en="Fetch it again and send the new ETag as If-Match"
    )


class PayloadTooLarge(Problem):
    """The body is longer than this address takes."""

    status = 413
    code = "payload_too_large"
    title = Text(zh="请求体过大", en="The body is too large")
    fix = Text(zh="请分批发送，每次不超过 {limit_bytes} 字节", en="Send at most {limit_bytes} bytes at a time")
    headers = {"Connection": "close"}  # noqa: RUF012


class UrlTooLong(Problem):
    """The address is longer than anybody needs."""

    status = 414
    code = "url_too_long"
    title = Text(zh="网址过长", en="The URL is too long")
    fix = Text(zh="请缩短到 {limit_bytes} 字节以内", en="Keep it within {limit_bytes} bytes")


class UnsupportedMediaType(Problem):
    """The body is in a format this address does not read."""

    status = 415
    code = "unsupported_media_type"
    title = Text(zh="不支持此请求体格式", en="The format of the body is not supported")
    fix = Text(zh="请使用 Content-Type: {allowed}", en="Send it as Content-Type: {allowed}")
    headers = {"Accept": "{allowed}"}  # noqa: RUF012


class UnsupportedEncoding(Problem):
    """The body is compressed; small ones could unfold into enormous ones."""

    status = 415
    code = "unsupported_encoding"
    title = Text(zh="不接受压缩的请求体", en="Compressed bodies are not accepted")
    fix = Text(zh="请不压缩发送，去掉 Content-Encoding", en="Send it uncompressed, without Content-Encoding")
    headers = {"Accept-Encoding": "identity"}  # noqa: RUF012


class InvalidInput(Problem):
    """What was sent is well-formed but cannot be right; `errors` says where."""

    status = 422
    code = "invalid_input"
    title = Text(zh="提交的内容有误", en="The input is not valid")
    fix = Text(zh="请改正后重新提交", en="Correct it and send it again")

    def detail(self, language: Language, *, is_resident: bool = False) -> str:
        """The first fault in words, and how many more there are."""
        if not self.errors:
            return super().detail(language, is_resident=is_resident)
        first, more = self.errors[0].sentence(language), len(self.errors) - 1
        if not more:
            return sentences(language, first)
        more_of_them = f"另有 {more} 处需要改正" if language == "zh-CN" else f"{more} more to correct"
        return sentences(language, first, more_of_them)


class UnstorableInput(Problem):
    """A value that no column can hold: a NUL character, a number out of range, a broken encoding."""

    status = 422
    code = "unstorable_input"
    title = Text(zh="内容中有无法保存的值", en="A value cannot be stored")
    fix = Text(
        zh="请检查空字符、超出范围的数字或日期，改正后重发",
        en="Check for NUL characters and for numbers or dates out of range, then send it again",
    )


class KeyReused(Problem):
    """The Idempotency-Key belongs to another request."""

    status = 422
    code = "key_reused"
    title = Text(zh="幂等键已用于另一请求", en="This idempotency key was already used for another request")
    fix = Text(zh="请为新的请求换一个 Idempotency-Key", en="Use a new Idempotency-Key for each new request")


class ClockAhead(Problem):
    """The device says it happened in the future."""

    status = 422
    code = "clock_ahead"
    title = Text(zh="设备时间超前", en="The device's clock is ahead")
    fix = Text(zh="请校准设备时间后重发", en="Set the device's clock right and send it again")


class PreconditionRequired(Problem):
    """Two people edit this: say which version you have seen."""

    status = 428
    code = "precondition_required"
    title = Text(zh="缺少 If-Match", en="If-Match is missing")
    fix = Text(
        zh="请先读取，并把它的 ETag 作为 If-Match 一起提交", en="Fetch the resource first and send its ETag as If-Match"
    )


class Sunset(Problem):
    """The emergency is over: what collects data about people has ended."""

    status = 410
    code = "sunset"
    title = Text(zh="应急状态已结束，不再收集信息", en="The emergency is over; no more data is collected")
    fix = Text(
        zh="健康码、登记和检测均已停止，办事无需再验码，就医请照常前往或拨打 120；仍可查看和删除本人信息",
        en="Health codes, registration and testing have ended and no service asks for a code. For medical care go as "
        "usual or call 120. You can still view your data and have it deleted",
    )


class DataDestroyed(Problem):
    """The key that sealed it was destroyed, and what it sealed with it."""

    status = 410
    code = "data_destroyed"
    title = Text(zh="数据已销毁", en="The data was destroyed")
    fix = Text(zh="数据已按规定销毁，无法恢复", en="It was destroyed as required by the rules and cannot be restored")


class DataUnreadable(Problem):
    """What is kept does not open: it was damaged, or put where it does not belong."""

    status = 409
    code = "data_unreadable"
    title = Text(zh="所存数据无法读取", en="The stored data cannot be read")
    fix = Text(
        zh="请把 request_id 告诉管理员，由备份恢复，或重新登记",
        en="Give the request_id to the administrator, who can restore a backup, or enter the data again",
    )


class TooManyRequests(Problem):
    """The caller asks more often than is fair to the others."""

    status = 429
    code = "too_many_requests"
    title = Text(zh="操作过于频繁", en="Too many requests")
    fix = Text(zh="请 {retry_after}后再试", en="Try again in {retry_after}")
    retry_after = 1


class HeadersTooLarge(Problem):
    """The headers are more, or longer, than anybody needs."""

    status = 431
    code = "headers_too_large"
    title = Text(zh="请求头过多或过长", en="The headers are too many or too long")
    fix = Text(
        zh="请减少到 {limit_count} 个、共 {limit_bytes} 字节以内",
        en="Send at most {limit_count} headers and {limit_bytes} bytes in total",
    )


class InternalError(Problem):
    """Something of ours broke. The answer says nothing but the request's id; the log says the rest."""

    status = 500
    code = "internal_error"
    title = Text(zh="系统内部错误", en="Internal error")
    fix = Text(
        zh="请稍后再试；若仍如此，请把 request_id 告诉管理员",
        en="Try again later; if it happens again, give the request_id to the administrator",
    )


class UpstreamFailed(Problem):
    """Another system did not do its part."""

    status = 502
    code = "upstream_failed"
    title = Text(zh="另一系统未能完成", en="Another system failed")
    fix = Text(zh="请稍后再试", en="Try again later")
    retry_after = 5


class Unavailable(Problem):
    """The service, or its database, cannot answer for the moment."""

    status = 503
    code = "unavailable"
    title = Text(zh="服务暂时不可用", en="The service is temporarily unavailable")
    fix = Text(zh="请 {retry_after}后再试；未得到成功答复的操作可以重发", en="Try again in {retry_after}")
    retry_after = 1


class UpstreamTimeout(Problem):
    """The time for this request ran out."""

    status = 504
    code = "upstream_timeout"
    title = Text(zh="处理超时", en="The request took too long")
    fix = Text(
        zh="请稍后用同一 Idempotency-Key 重试，或减少每次的数量",
        en="Try again with the same Idempotency-Key, or request less at a time",
    )
    retry_after = 1
