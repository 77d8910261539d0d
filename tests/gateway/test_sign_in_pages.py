"""The pages of the sign-in: their browser's alone, without script, and over when an account is."""

from urllib.parse import urlsplit
from uuid import UUID

from shared.core.actors import Role
from tests.gateway.signing_in import (
    ORGANISATION,
    REDIRECT,
    REGIONS,
    Browser,
    Pkce,
    app,
    first_link,
    outside,
    person,
    refreshed,
    set_password,
    signed_in,
    until_refused,
)
from tests.harness import District


async def test_a_page_is_its_browsers_alone(district: District) -> None:
    await app(district)
    await person(district)
    async with outside(district) as mine, outside(district) as theirs:
        browser = await Browser.at(mine, Pkce().asked())
        filled = browser.filled("password", login="lin.grid", password="a long walk along the wall")
        await Browser.at(theirs, Pkce().asked())
        assert (await theirs.get(browser.address)).status_code == 400
        assert (await theirs.post(browser.address, data=filled)).status_code == 400
        foreign = await mine.post(browser.address, data=filled, headers={"origin": "https://evil.example"})
        assert (foreign.status_code, "did not come from this page" in foreign.text) == (400, True)
        assert (await mine.post(browser.address, data=filled, headers={"origin": "null"})).status_code == 400
        assert (await mine.post(browser.address, data={**filled, "token": "0" * 64})).status_code == 400
        assert (await mine.post(browser.address, json=filled)).status_code == 400
        assert (await mine.post(browser.address, data=filled, headers={"origin": "http://gateway"})).status_code == 303


async def test_a_page_runs_no_script_and_repeats_nothing_unescaped(district: District) -> None:
    await app(district, name="<script>alert(1)</script>")
    async with outside(district) as client:
        browser = await Browser.at(client, Pkce().asked())
        assert browser.page is not None
        assert "<script" not in browser.page.text
        assert 'lang="en"' in browser.page.text
        policy = browser.page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "form-action 'self' https://app.example.com; frame-ancestors 'none'" in policy
        cookies = browser.client.cookies.jar
        assert {cookie.name for cookie in cookies} == {"fangxian_sign_in", "fangxian_device"}
        assert all(cookie.path == "/sign-in/" and cookie.has_nonstandard_attr("HttpOnly") for cookie in cookies)
        chinese = await client.get(browser.address, headers={"accept-language": "zh"})
        assert 'lang="zh-CN"' in chinese.text
        assert "登录" in chinese.text


async def test_a_cookie_opens_no_api(district: District) -> None:
    await app(district)
    async with outside(district) as client:
        await signed_in(district, client)
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in client.cookies.jar)
        for path in (REGIONS, "/gateway/v1/sessions", "/oauth/userinfo"):
            assert (await client.get(path, headers={"cookie": cookies})).status_code == 401


async def test_a_sign_in_lasts_half_an_hour(district: District) -> None:
    await app(district)
    async with outside(district) as client:
        browser = await Browser.at(client, Pkce().asked())
        district.move_clock(minutes=31)
        assert (await client.get(browser.address)).status_code == 400


async def test_who_lost_everything_gets_a_new_link_and_the_old_proves_nothing(district: District) -> None:
    await app(district)
    command = district.caller("gateway", Role.COMMAND, scope="")
    async with outside(district) as client:
        someone, tokens = await signed_in(district, client)
        reset = await command.post(f"/gateway/v1/accounts/{someone.account_id}/reset")  # type: ignore[attr-defined]
        await until_refused(client, tokens["access_token"])
        browser = await Browser.at(client, Pkce().asked())
        await browser.submit("password", login="lin.grid", password="a long walk along the wall")
        assert "This is not correct" in browser.text
        await set_password(district, reset.json()["link"], "another walk along the wall")
        someone.password, someone.authenticator = "another walk along the wall", ""  # type: ignore[attr-defined]
        assert "code" in (await someone.sign_in(client, Pkce())).answer  # type: ignore[attr-defined]


async def test_a_reset_ends_what_is_under_way(district: District) -> None:
    """A page half filled in, a code not exchanged yet, a link not used yet and the recovery codes open nothing more."""
    await app(district)
    command = district.caller("gateway", Role.COMMAND, scope="")
    async with outside(district) as client:
        someone = await person(district)
        pkce = Pkce()
        code = (await someone.sign_in(client, pkce)).answer["code"]
        recovery = someone.recovery_codes
        half = await Browser.at(client, Pkce().asked())
        await half.submit("password", login=someone.login, password=someone.password)
        path = f"/gateway/v1/accounts/{someone.account_id}/reset"
        unused = (await command.post(path)).json()["link"]
        used = (await command.post(path)).json()["link"]

        asked = {"grant_type": "authorization_code", "code": code, "client_id": "grid-app"}
        asked |= {"redirect_uri": REDIRECT, "code_verifier": pkce.verifier}
        assert (await client.post("/oauth/token", data=asked)).json()["error"] == "invalid_grant"
        assert (await client.get(half.address)).status_code == 400
        assert (await client.get(urlsplit(unused).path)).status_code == 404
        await set_password(district, used, someone.password)
        again = await Browser.at(client, Pkce().asked())
        await again.submit("password", login=someone.login, password=someone.password)
        assert 'value="enrol"' in again.text  # from the beginning: nothing asks for a recovery code
    left = await district.sql("SELECT hash FROM gateway.recovery_codes WHERE account_id = $1", UUID(someone.account_id))
    assert (len(recovery) > 0, left) == (True, [])


async def test_a_closed_account_is_out_within_a_second(district: District) -> None:
    await app(district)
    command = district.caller("gateway", Role.COMMAND, scope="")
    async with outside(district) as client:
        someone, tokens = await signed_in(district, client)
        path = f"/gateway/v1/accounts/{someone.account_id}"  # type: ignore[attr-defined]
        assert (await command.patch(path, json={"state": "closed"})).json()["state"] == "closed"
        await until_refused(client, tokens["access_token"])
        assert (await refreshed(client, tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_what_it_leaves_in_the_audit(district: District) -> None:
    await app(district)
    async with outside(district) as client:
        someone, tokens = await signed_in(district, client)
        await refreshed(client, tokens["refresh_token"])
        await client.post("/oauth/revoke", data={"token": tokens["access_token"], "client_id": "grid-app"})
        account = someone.account_id  # type: ignore[attr-defined]
    rows = await district.sql(
        "SELECT reason, subjects FROM gateway.audit WHERE actor = $1 AND kind = 'sign_in' ORDER BY seq",
        f"account:{account}",
    )
    assert [row["reason"] for row in rows] == [
        "password_set",
        "authenticator_set",
        "signed_in",
        "refreshed",
        "signed_out",
    ]
    assert all([str(one) for one in row["subjects"]] == [account] for row in rows)


# What the pages say -------------------------------------------------------------------------------------------------


async def test_the_choice_of_a_grant_is_in_words(district: District) -> None:
    await app(district)
    someone = await person(district, role="sampler", region="350582005001", party="沙塘采样点")
    command = district.caller("gateway", Role.COMMAND, scope="")
    point = {"name": "便民服务中心 1 号窗口", "region": "350582005001"}
    point_id = (await command.post("/gateway/v1/service-points", json=point)).json()["id"]
    for role, party in (("community_officer", ORGANISATION), ("doorkeeper", point_id)):
        given = {"account_id": someone.account_id, "role": role, "region": "350582005001", "party": party, "why": "x"}
        assert (await command.post("/gateway/v1/grants", json=given)).status_code == 201
    name = (await command.get("/registry/v1/regions/350582005001")).json()["name"]
    async with outside(district, **{"accept-language": "zh"}) as client:
        browser = await someone.sign_in(client, Pkce())
        assert f"采样员 · {name} · 沙塘采样点" in browser.text
        assert f"社区工作人员 · {name} · {ORGANISATION}" in browser.text
        assert f"验码员 · {name} · 便民服务中心 1 号窗口" in browser.text
        english = await client.get(browser.address, headers={"accept-language": "en"})
        assert f"Sampler · {name}" in english.text


async def test_a_set_up_on_the_phone_itself_needs_no_camera(district: District) -> None:
    await app(district)
    someone = await person(district)
    async with outside(district) as client:
        browser = await Browser.at(client, Pkce().asked())
        await browser.submit("password", login=someone.login, password=someone.password)
        assert 'href="otpauth://totp/Fangxian:lin.grid?secret=' in browser.text
        assert 'inputmode="numeric"' in browser.text


async def test_digits_have_a_numeric_keyboard_and_a_recovery_code_a_field_of_its_own(district: District) -> None:
    await app(district)
    someone = await person(district)
    async with outside(district) as client:
        await someone.sign_in(client, Pkce())
        browser = await Browser.at(client, Pkce().asked())
        await browser.submit("password", login=someone.login, password=someone.password)
        assert 'inputmode="numeric"' in browser.text
        assert 'href="?with=recovery"' in browser.text
        await browser.follow(await client.get(f"{browser.address}?with=recovery"))
        assert 'inputmode="numeric"' not in browser.text
        await browser.submit("digits", code="aaaa-bbbb-cccc-dddd")
        assert "Recovery code" in browser.text  # the same form again, with what is wrong
        assert "not correct" in browser.text
        await browser.submit("digits", code=someone.recovery_codes[0])
        assert "code" in browser.answer


async def test_a_page_has_the_forms_of_those_the_application_is_for(district: District) -> None:
    await app(district, people="staff")
    await app(district, client_id="resident-app", people="residents")
    async with outside(district) as client:
        staff = await Browser.at(client, Pkce().asked())
        assert ('name="login"' in staff.text, 'name="phone"' in staff.text) == (True, False)
        filled = staff.filled("password") | {"act": "phone", "phone": "15400005678"}
        assert "This sign-in has expired" in (await client.post(staff.address, data=filled)).text
        residents = await Browser.at(client, Pkce().asked(client_id="resident-app"))
        assert ('name="login"' in residents.text, 'name="phone"' in residents.text) == (False, True)


async def test_a_refused_form_keeps_the_user_name_and_never_a_password(district: District) -> None:
    await app(district)
    async with outside(district) as client:
        browser = await Browser.at(client, Pkce().asked())
        await browser.submit("password", login='lin"><b>', password="wrong wrong wrong")
        assert browser.page is not None
        assert 'value="lin&quot;&gt;&lt;b&gt;"' in browser.page.text
        assert "wrong wrong wrong" not in browser.text
        assert browser.text.index("<h2>Staff") < browser.text.index('role="alert"')


async def test_the_rules_are_told_before_the_first_try_and_all_faults_at_once(district: District) -> None:
    link = urlsplit(await first_link(district)).path
    async with outside(district) as client:
        browser = Browser(client)
        await browser.follow(await client.get(link))
        for rule in ("3 to 50 characters", "At least 12 characters", "Residents see it when they check"):
            assert rule in browser.text
        answer = await browser.submit("set", login="L", name="陈", party=" ", password="short", again="x")
        assert answer.status_code == 422
        for fault in ("A user name has 3 to 50", "Enter your organisation", "needs at least 12 characters"):
            assert fault in browser.text
        assert 'value="陈"' in browser.text
        good = {"login": "chen_admin", "name": "陈", "party": "指挥部", "password": "a long walk along the wall"}
        await browser.submit("set", **good, again="a long walk along the hall")
        assert "The two passwords are different" in browser.text
        await browser.submit("set", **good, again=good["password"])
        assert "Your user name: chen_admin" in browser.text


async def test_who_sets_a_password_is_told_their_user_name(district: District) -> None:
    command = district.caller("gateway", Role.COMMAND, scope="")
    new = {"login": "lin.officer", "name": "林静", "region": "350582005001"}
    link = (await command.post("/gateway/v1/accounts", json=new)).json()["link"]
    async with outside(district) as client:
        page = (await client.get(urlsplit(link).path)).text
    assert "Hello 林静" in page
    assert 'autocomplete="username" value="lin.officer" readonly' in page


async def test_an_application_chooses_the_language_of_the_pages(district: District) -> None:
    await app(district)
    async with outside(district, **{"accept-language": "en"}) as client:
        for wanted, language in (("zh-TW en", "zh-CN"), ("fr en-GB", "en"), ("fr", "en")):
            browser = await Browser.at(client, Pkce().asked(ui_locales=wanted))
            assert f'lang="{language}"' in browser.text


async def test_who_signs_out_is_told_so(district: District) -> None:
    await app(district)
    async with outside(district, **{"accept-language": "zh"}) as client:
        _, tokens = await signed_in(district, client)
        page = await client.get("/sign-in/end", params={"id_token_hint": tokens["id_token"]})
        assert "<h1>已退出登录</h1>" in page.text
