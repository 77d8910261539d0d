"""The first page, for whoever opens the address: what this is, and where to read on. It tells no secret."""

from html import escape

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from services.gateway.issuer.pages import Pages
from shared.http.limits import check_accept
from shared.problems import Text, language_of

WHAT = Text(zh="先验码、后服务", en="Verify the code before the service")
MORE = Text(
    zh="这是街道疫情防控系统的接口，供小程序、管理台和其他系统调用，没有供人操作的界面。居民和工作人员请打开各自的应用登录。",
    en="This is the interface of a sub-district's epidemic control. Mini-programs, consoles and other systems call it; "
    "it has no screens of its own. Residents and staff sign in from their applications.",
)
LINKS = {
    "/docs": Text(zh="接口文档与指南", en="Reference and guides"),
    "/openapi.json": Text(zh="全部接口（OpenAPI 3.1）", en="All operations (OpenAPI 3.1)"),
    "/asyncapi.json": Text(zh="事件与回调（AsyncAPI）", en="Events and webhooks (AsyncAPI)"),
    "/problems": Text(zh="可能遇到的问题及处理办法", en="What can go wrong, and what to do"),
    "/.well-known/openid-configuration": Text(
        zh="登录：应用如何接入（OpenID Connect）", en="Sign-in: how applications connect (OpenID Connect)"
    ),
    "/status": Text(zh="各服务是否就绪", en="Whether each service is ready"),
    "/livez": Text(zh="本进程是否在运行", en="Whether this process runs"),
    "/readyz": Text(zh="本进程是否就绪（仅限内部网络）", en="Whether this process is ready (from the inside)"),
}
HEADERS = {"cache-control": "public, max-age=60", "vary": "accept, accept-language"}


async def home(request: Request) -> Response:
    """A page, or the same as JSON for who asks for JSON."""
    check_accept(request, ("text/html", "application/json"))
    language = language_of(request.headers.get("accept-language"))
    accept = request.headers.get("accept", "")
    if "json" in accept and "text/html" not in accept:
        links = [{"href": path, "title": words.say(language)} for path, words in LINKS.items()]
        return JSONResponse(
            {"title": WHAT.say(language), "description": MORE.say(language), "links": links},
            headers={**HEADERS, "content-language": language},
        )
    said = Pages(language)
    rows = (f"<li>{said.link(words.say(language), path)}<br>{escape(path)}</li>" for path, words in LINKS.items())
    page = said.page(WHAT, [f"<p>{said.say(MORE)}</p>", "<ul>", *rows, "</ul>"])
    page.headers.update(HEADERS)
    return page


ROUTES: tuple[BaseRoute, ...] = (Route("/", home, methods=["GET"]),)
