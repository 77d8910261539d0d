"""The home page: what this system is, with links to its documentation. It contains nothing secret."""

from html import escape

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from services.gateway.issuer.pages import Pages
from shared.http.limits import check_accept
from shared.problems import LocalizedText, language_of

WHAT = LocalizedText(zh="先验码、后服务", en="Verify the code before the service")
MORE = LocalizedText(
    zh="这里是街道疫情防控系统的接口，供小程序、管理后台和其他系统调用，不提供操作界面。居民和工作人员请从各自的应用登录。",
    en="This is the API of the epidemic control system of a sub-district. Mini-programs, consoles and other systems "
    "call it. It has no user interface. Residents and staff sign in from their apps.",
)
LINKS = {
    "/docs": LocalizedText(zh="接口文档和使用指南", en="API reference and guides"),
    "/openapi.json": LocalizedText(zh="全部接口（OpenAPI 3.1）", en="All operations (OpenAPI 3.1)"),
    "/asyncapi.json": LocalizedText(zh="事件与回调（AsyncAPI）", en="Events and webhooks (AsyncAPI)"),
    "/problems": LocalizedText(zh="错误代码及处理办法", en="Error codes and what to do"),
    "/.well-known/openid-configuration": LocalizedText(
        zh="登录接入信息（OpenID Connect）", en="Sign-in for apps (OpenID Connect)"
    ),
    "/status": LocalizedText(zh="各服务的就绪状态", en="Readiness of each service"),
    "/livez": LocalizedText(zh="本进程是否在运行", en="Whether this process is running"),
    "/readyz": LocalizedText(
        zh="本进程是否就绪（仅限内部网络）", en="Whether this process is ready (internal network only)"
    ),
}
HEADERS = {"cache-control": "public, max-age=60", "vary": "accept, accept-language"}


async def home(request: Request) -> Response:
    """Return the home page, or its content as JSON if the client accepts only JSON."""
    check_accept(request, ("text/html", "application/json"))
    language = language_of(request.headers.get("accept-language"))
    accept = request.headers.get("accept", "")
    if "json" in accept and "text/html" not in accept:
        links = [{"href": path, "title": words.render(language)} for path, words in LINKS.items()]
        return JSONResponse(
            {"title": WHAT.render(language), "description": MORE.render(language), "links": links},
            headers={**HEADERS, "content-language": language},
        )
    pages = Pages(language)
    rows = (f"<li>{pages.link(words.render(language), path)}<br>{escape(path)}</li>" for path, words in LINKS.items())
    page = pages.page(WHAT, [f"<p>{pages.render(MORE)}</p>", "<ul>", *rows, "</ul>"])
    page.headers.update(HEADERS)
    return page


ROUTES: tuple[BaseRoute, ...] = (Route("/", home, methods=["GET"]),)
