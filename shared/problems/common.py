"""The problems that any operation can raise, by status."""

from shared.problems.localized_text import Language, LocalizedText, sentences
from shared.problems.problem import Problem


class MalformedUrl(Problem):
    """The URL contains a NUL character, or bytes that are not UTF-8."""

    status = 400
    code = "malformed_url"
    title = LocalizedText(zh="网址无法识别", en="The URL is malformed")
    fix = LocalizedText(
        zh="请把路径和查询参数按 UTF-8 编码，且不要含空字符",
        en="Encode path and query as UTF-8, without NUL characters",
    )


class MalformedRequest(Problem):
    """The request violates the HTTP protocol."""

    status = 400
    code = "malformed_request"
    title = LocalizedText(zh="请求无法识别", en="The request is malformed")
    fix = LocalizedText(zh="请检查请求的格式后重发", en="Check the format of the request and send it again")


class MalformedJson(Problem):
    """The body is not valid JSON (RFC 8259), or it is ambiguous under I-JSON."""

    status = 400
    code = "malformed_json"
    title = LocalizedText(zh="请求体不是有效的 JSON", en="The body is not valid JSON")
    what = LocalizedText(zh="请求体不是有效的 JSON：{reason}", en="The body is not valid JSON: {reason}")
    fix = LocalizedText(zh="请改正后重发", en="Correct it and send it again")


class Unauthenticated(Problem):
    """The request carries no valid credentials."""

    status = 401
    code = "unauthenticated"
    title = LocalizedText(zh="尚未登录或登录已失效", en="You are not signed in, or your session has expired")
    fix = LocalizedText(zh="请重新登录", en="Sign in again")
    headers = {"WWW-Authenticate": 'Bearer realm="fangxian"'}  # noqa: RUF012


class Forbidden(Problem):
    """The caller is known but may not do this."""

    status = 403
    code = "forbidden"
    title = LocalizedText(zh="无权进行此操作", en="You do not have permission to do this")
    fix = LocalizedText(
        zh="请由具有相应角色和辖区权限的人员办理", en="Ask someone who has the required role in this region"
    )
    to_residents = LocalizedText(
        zh="您没有此项权限\n如需办理，请联系所在社区",
        en="You do not have permission to do this\nPlease ask your community for help",
    )


class NotFound(Problem):
    """The resource does not exist, or the caller may not see it."""

    status = 404
    code = "not_found"
    title = LocalizedText(zh="未找到", en="Not found")
    fix = LocalizedText(zh="请核对编号，并确认其属于您的辖区", en="Check the id and whether it is in your region")
    to_residents = LocalizedText(zh="没有找到相关信息", en="Nothing was found")


class NoSuchPath(Problem):
    """No route has this path."""

    status = 404
    code = "no_such_path"
    title = LocalizedText(zh="接口不存在", en="The path does not exist")
    fix = LocalizedText(zh="请对照 /openapi.json 核对路径", en="Check the path against /openapi.json")


class MethodNotAllowed(Problem):
    """The path exists, but it does not support this method."""

    status = 405
    code = "method_not_allowed"
    title = LocalizedText(zh="此接口不支持该方法", en="The path does not support this method")
    fix = LocalizedText(zh="请改用 {allow}", en="Use {allow}")
    headers = {"Allow": "{allow}"}  # noqa: RUF012


class NotAcceptable(Problem):
    """The service cannot produce a format that the caller accepts."""

    status = 406
    code = "not_acceptable"
    title = LocalizedText(zh="无法提供所要求的格式", en="The requested format is not available")
    fix = LocalizedText(zh="请在 Accept 头中允许 {offered}", en="Allow {offered} in the Accept header")


class Conflict(Problem):
    """The request contradicts an existing record."""

    status = 409
    code = "conflict"
    title = LocalizedText(zh="与已有记录冲突", en="This conflicts with an existing record")
    fix = LocalizedText(zh="请刷新并核对后再提交", en="Read the record again and compare before you resubmit")


class VersionMismatch(Problem):
    """Somebody else has changed the record since the caller read it."""

    status = 412
    code = "version_mismatch"
    title = LocalizedText(zh="内容已被他人修改", en="Somebody else has changed this record")
    fix = LocalizedText(
        zh="请重新读取，并以新的 ETag 作为 If-Match 再提交", en="Read it again and send the new ETag as If-Match"
    )


class PayloadTooLarge(Problem):
    """The body is longer than this path allows."""

    status = 413
    code = "payload_too_large"
    title = LocalizedText(zh="请求体过大", en="The body is too large")
    fix = LocalizedText(
        zh="请分批发送，每次不超过 {limit_bytes} 字节", en="Send at most {limit_bytes} bytes per request"
    )
    headers = {"Connection": "close"}  # noqa: RUF012


class UrlTooLong(Problem):
    """The URL is longer than the limit."""

    status = 414
    code = "url_too_long"
    title = LocalizedText(zh="网址过长", en="The URL is too long")
    fix = LocalizedText(zh="请缩短到 {limit_bytes} 字节以内", en="Shorten it to at most {limit_bytes} bytes")


class UnsupportedMediaType(Problem):
    """The path does not accept the format of the body."""

    status = 415
    code = "unsupported_media_type"
    title = LocalizedText(zh="不支持此请求体格式", en="The format of the body is not supported")
    fix = LocalizedText(zh="请使用 Content-Type: {allowed}", en="Send it as Content-Type: {allowed}")
    headers = {"Accept": "{allowed}"}  # noqa: RUF012


class UnsupportedEncoding(Problem):
    """The body is compressed. A small compressed body could expand into an enormous one."""

    status = 415
    code = "unsupported_encoding"
    title = LocalizedText(zh="不接受压缩的请求体", en="Compressed bodies are not accepted")
    fix = LocalizedText(zh="请不要压缩，并去掉 Content-Encoding", en="Send it uncompressed, without Content-Encoding")
    headers = {"Accept-Encoding": "identity"}  # noqa: RUF012


class InvalidInput(Problem):
    """The input is well-formed but not valid. `errors` lists each fault and its location."""

    status = 422
    code = "invalid_input"
    title = LocalizedText(zh="提交的内容有误", en="The input is not valid")
    fix = LocalizedText(zh="请改正后重新提交", en="Correct it and send it again")

    def detail(self, language: Language, *, is_resident: bool = False) -> str:
        """Return the first fault as a sentence, and the number of further faults."""
        if not self.errors:
            return super().detail(language, is_resident=is_resident)
        first, more = self.errors[0].sentence(language), len(self.errors) - 1
        if not more:
            return sentences(language, first)
        more_of_them = f"另有 {more} 处需要改正" if language == "zh-CN" else f"{more} more to correct"
        return sentences(language, first, more_of_them)


class UnstorableInput(Problem):
    """No column can store a value: it has a NUL character, a number out of range or a broken encoding."""

    status = 422
    code = "unstorable_input"
    title = LocalizedText(zh="内容中有无法保存的值", en="A value cannot be stored")
    fix = LocalizedText(
        zh="请检查空字符、超出范围的数字或日期，改正后重发",
        en="Check for NUL characters and for numbers or dates out of range, then send it again",
    )


class KeyReused(Problem):
    """The Idempotency-Key was used for a different request."""

    status = 422
    code = "key_reused"
    title = LocalizedText(zh="幂等键已用于另一请求", en="This idempotency key was already used for another request")
    fix = LocalizedText(zh="请为新的请求换一个 Idempotency-Key", en="Use a new Idempotency-Key for each new request")


class ClockAhead(Problem):
    """The device reports a time in the future."""

    status = 422
    code = "clock_ahead"
    title = LocalizedText(zh="设备时间超前", en="The device's clock is ahead")
    fix = LocalizedText(zh="请校准设备时间后重发", en="Correct the device's clock and send it again")


class PreconditionRequired(Problem):
    """The request must name the version that the caller has read, because several people edit the record."""

    status = 428
    code = "precondition_required"
    title = LocalizedText(zh="缺少 If-Match", en="If-Match is missing")
    fix = LocalizedText(
        zh="请先读取，并以其 ETag 作为 If-Match 一并提交", en="Read the resource first and send its ETag as If-Match"
    )


class Sunset(Problem):
    """The emergency is over, and operations that collect data about people have ended."""

    status = 410
    code = "sunset"
    title = LocalizedText(zh="应急状态已结束，不再收集信息", en="The emergency is over and data is no longer collected")
    fix = LocalizedText(
        zh="健康码、登记和检测均已停止，办事无需再验码，就医请照常前往或拨打 120；您仍可查看和删除本人信息",
        en="Health codes, registration and testing have ended, and no service requires a code. For medical care go as "
        "usual or call 120. You can still view your data and have it deleted",
    )


class DataDestroyed(Problem):
    """The key that encrypted the data was destroyed, so the data cannot be decrypted."""

    status = 410
    code = "data_destroyed"
    title = LocalizedText(zh="数据已销毁", en="The data was destroyed")
    fix = LocalizedText(
        zh="数据已按规定销毁，无法恢复", en="The rules required its destruction, and it cannot be restored"
    )


class DataUnreadable(Problem):
    """Stored data cannot be decrypted, because it was damaged or moved to another record."""

    status = 409
    code = "data_unreadable"
    title = LocalizedText(zh="已存数据无法读取", en="The stored data cannot be read")
    fix = LocalizedText(
        zh="请将 request_id 告知管理员以便从备份恢复，或重新登记",
        en="Give the request_id to the administrator, who can restore a backup, or enter the data again",
    )


class TooManyRequests(Problem):
    """The caller has sent more requests than its rate limit allows."""

    status = 429
    code = "too_many_requests"
    title = LocalizedText(zh="操作过于频繁", en="Too many requests")
    fix = LocalizedText(zh="请 {retry_after}后再试", en="Try again in {retry_after}")
    retry_after = 1


class HeadersTooLarge(Problem):
    """The request has too many headers, or its headers are too long."""

    status = 431
    code = "headers_too_large"
    title = LocalizedText(zh="请求头过多或过长", en="The request has too many or too long headers")
    fix = LocalizedText(
        zh="请减少到 {limit_count} 个、共 {limit_bytes} 字节以内",
        en="Send at most {limit_count} headers and {limit_bytes} bytes in total",
    )


class InternalError(Problem):
    """The service failed unexpectedly. The answer gives only the id of the request; the log has the details."""

    status = 500
    code = "internal_error"
    title = LocalizedText(zh="系统内部错误", en="Internal error")
    fix = LocalizedText(
        zh="请稍后再试；若仍出错，请将 request_id 告知管理员",
        en="Try again later; if it happens again, give the request_id to the administrator",
    )


class UpstreamFailed(Problem):
    """Another system that the request depends on has failed."""

    status = 502
    code = "upstream_failed"
    title = LocalizedText(zh="关联系统处理失败", en="A connected system failed")
    fix = LocalizedText(zh="请稍后再试", en="Try again later")
    retry_after = 5


class Unavailable(Problem):
    """The service or its database is temporarily unavailable."""

    status = 503
    code = "unavailable"
    title = LocalizedText(zh="服务暂时不可用", en="The service is temporarily unavailable")
    fix = LocalizedText(zh="请 {retry_after}后再试；未得到成功答复的操作可以重发", en="Try again in {retry_after}")
    retry_after = 1


class UpstreamTimeout(Problem):
    """The request exceeded its time limit."""

    status = 504
    code = "upstream_timeout"
    title = LocalizedText(zh="处理超时", en="The request took too long")
    fix = LocalizedText(
        zh="请稍后用同一 Idempotency-Key 重试，或减少每次提交的数量",
        en="Try again with the same Idempotency-Key, or send or request fewer items at a time",
    )
    retry_after = 1
