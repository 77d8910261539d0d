"""The texts of the sign-in pages in Chinese and English."""

from shared.problems import LocalizedText

T = LocalizedText
SIGN_IN = T(zh="登录", en="Sign in")
STAFF = T(zh="工作人员", en="Staff")
RESIDENT = T(zh="居民", en="Residents")
LOGIN = T(zh="用户名", en="User name")
LOGIN_RULE = T(
    zh="3–50 位，可用小写字母、数字、点、横线和下划线，以字母或数字开头。",
    en="3 to 50 characters: lower-case letters, digits, dots, hyphens and underscores. The first is a letter or digit.",
)
NAME = T(zh="姓名", en="Name")
PARTY = T(zh="单位", en="Organisation")
PARTY_WHY = T(
    zh="例如“新塘街道疫情防控指挥部”。居民查询谁看过自己的信息时，会看到此名称。",
    en="For example the command of the sub-district. Residents see it when they check who viewed their data.",
)
PASSWORD = T(zh="密码", en="Password")
NEW_PASSWORD = T(zh="新密码", en="New password")
PASSWORD_RULE = T(
    zh="至少 12 个字符。请勿使用常见密码，也不要包含用户名或姓名。几个互不相关的词连在一起，既好记又安全。",
    en="At least 12 characters. Do not use a common password, your user name or your name. A few unrelated words "
    "together are safe and easy to remember.",
)
PASSWORD_AGAIN = T(zh="请再次输入新密码", en="Repeat the new password")
NEXT = T(zh="下一步", en="Next")
PHONE = T(zh="手机号", en="Mobile number")
SEND_CODE = T(zh="发送验证码", en="Send a code")
CODE = T(zh="短信验证码", en="Code from the text message")
DIGITS = T(zh="身份验证器上的 6 位数字", en="6 digits of your authenticator")
RECOVERY = T(zh="恢复码", en="Recovery code")
USE_RECOVERY = T(zh="手机不在身边？使用恢复码", en="No phone with you? Use a recovery code")
USE_DIGITS = T(zh="改用身份验证器", en="Use the authenticator instead")
SECOND_FACTOR = T(zh="第二步验证", en="Second step")
SET_UP = T(zh="设置身份验证器", en="Set up your authenticator")
SCAN = T(
    zh="请用身份验证器应用扫描二维码。如果应用就在这部手机上，请点击下面的链接，或手动输入密钥。",
    en="Scan this QR code with an authenticator app. If the app is on this phone, use the link below or enter the key.",
)
OPEN_APP = T(zh="在本机的身份验证器中打开", en="Open in the authenticator on this device")
KEY = T(zh="密钥：", en="Key:")
QR = T(zh="身份验证器二维码", en="QR code for the authenticator")
KEEP_CODES = T(zh="请保存恢复码", en="Keep your recovery codes")
KEEP_WHY = T(
    zh="手机丢失时，每个恢复码可用于登录一次。恢复码只显示这一次，请抄写或打印保存。",
    en="If you lose your phone, you can sign in once with each code. The codes are shown only now. Write them down or "
    "print them.",
)
KEPT = T(zh="我已保存", en="I have saved them")
CHOOSE = T(zh="请选择登录身份", en="Choose your role")
SENT = T(
    zh="验证码已发送至 {phone}。如未收到，一分钟后可重新发送。",
    en="A code was sent to {phone}. If it does not arrive, you can send it again after one minute.",
)
AGAIN = T(zh="重新发送", en="Send again")
OTHER_PHONE = T(zh="更换手机号", en="Use another number")
TO = T(zh="登录到 {client}", en="to {client}")
SET_PASSWORD = T(zh="设置密码", en="Set your password")
FOR_ACCOUNT = T(zh="{name}，您好。登录时请使用以下用户名。", en="Hello {name}. Sign in with this user name.")
FIRST = T(zh="第一位管理员", en="The first administrator")
DONE = T(zh="设置完成", en="Done")
DONE_LOGIN = T(zh="您的用户名：{login}", en="Your user name: {login}")
DONE_WHERE = T(zh="现在可以登录了，请打开您的应用：", en="You can sign in now. Open your app:")
DONE_NOWHERE = T(
    zh="现在可以登录了，但还没有登记任何应用。运维人员可用 fangxian clients add 登记应用；"
    "在命令行可直接用 fangxian sign-in 登录。",
    en="You can sign in now, but no app is registered yet. The operator registers one with fangxian clients add. In "
    "a shell you can sign in with fangxian sign-in.",
)
SIGNED_OUT = T(zh="已退出登录", en="You are signed out")
SIGNED_OUT_MORE = T(zh="您可以关闭此页面。", en="You can close this page.")
CANNOT = T(zh="无法登录", en="Sign-in is not possible")
DEVICE = T(zh="在另一台设备上登录", en="Sign in on another device")
DEVICE_WHY = T(
    zh="请输入设备上显示的代码。仅当您本人刚刚在该设备上发起登录时才继续；请勿输入别人发来的代码。",
    en="Enter the code that the device shows. Continue only if you started this sign-in on the device yourself. Never "
    "enter a code that somebody sent you.",
)
USER_CODE = T(zh="设备上的代码", en="The code on the device")
DEVICE_ASKS = T(
    zh="设备（来自 {network}，代码 {code}）请求登录到 {client}。请确认该代码与设备上显示的一致。",
    en="A device (from {network}, code {code}) requests to sign in to {client}. Check that it shows the same code.",
)
REFUSE = T(zh="不是本人操作，拒绝", en="Not my device: refuse")
DEVICE_DONE = T(zh="设备已登录", en="The device is signed in")
DEVICE_DONE_MORE = T(zh="请回到设备上继续。您可以关闭此页面。", en="Continue on the device. You can close this page.")
DEVICE_REFUSED = T(zh="已拒绝", en="Refused")
DEVICE_REFUSED_MORE = T(
    zh="该设备未登录。您可以关闭此页面。", en="The device was not signed in. You can close this page."
)

SECONDS = T(zh="{n} 秒", en="{n} seconds")
MINUTES = T(zh="{n} 分钟", en="{n} minutes")

FAULTS: dict[str, LocalizedText] = {
    "wrong": T(zh="不正确，请再试一次。", en="This is not correct. Try again."),
    "wait": T(zh="尝试次数过多，请在 {wait}后再试。", en="Too many attempts. Try again in {wait}."),
    "over": T(zh="验证码已失效，请重新获取。", en="The code has expired. Request a new one."),
    "phone_form": T(zh="请输入可接收短信的手机号。", en="Enter a mobile number that can receive text messages."),
    "no_codes": T(
        zh="暂时无法发送验证码，请联系所在社区。",
        en="Codes cannot be sent to phones at present. Ask your community.",
    ),
    "no_grant": T(
        zh="您目前没有可在此应用中使用的授权，请联系指挥部。",
        en="You have no role that can be used in this app. Ask the command.",
    ),
    "gone": T(zh="本次登录已失效，请从应用重新开始。", en="This sign-in has expired. Start again from your app."),
    "link_gone": T(zh="链接无效、已使用或已过期。", en="The link is not valid, was used before, or has expired."),
    "client": T(zh="应用未登记，或回调地址不符。", en="The app is not registered, or its redirect URI is another one."),
    "origin": T(zh="请求不是从本页面发出的。", en="The request did not come from this page."),
    "form": T(zh="无法读取提交的内容。", en="The form could not be read."),
    "user_code": T(zh="代码不正确或已过期。", en="The code is wrong or has expired."),
    "login_form": T(
        zh="用户名应为 3–50 位，可用小写字母、数字、点、横线和下划线，以字母或数字开头。",
        en="A user name has 3 to 50 lower-case letters, digits, dots, hyphens and underscores. The first character is "
        "a letter or digit.",
    ),
    "login_taken": T(zh="该用户名已被使用。", en="This user name is taken."),
    "name_missing": T(zh="请填写姓名。", en="Enter your name."),
    "party_missing": T(zh="请填写单位。", en="Enter your organisation."),
    "short": T(zh="密码至少 12 个字符。", en="A password needs at least 12 characters."),
    "long": T(zh="密码最多 128 个字符。", en="A password has at most 128 characters."),
    "common": T(
        zh="该密码太常见或太容易猜到，请换几个不相干的词。",
        en="This password is too common or too easy to guess. Use several unrelated words.",
    ),
    "login": T(zh="密码不得包含用户名。", en="A password must not contain the user name."),
    "name": T(zh="密码不得包含姓名。", en="A password must not contain your name."),
    "differs": T(zh="两次输入的密码不一致。", en="The two passwords are different."),
}

ROLES: dict[str, LocalizedText] = {
    "command": T(zh="指挥部", en="Command"),
    "supervisor": T(zh="督查人员", en="Supervisor"),
    "auditor": T(zh="审计人员", en="Auditor"),
    "community_officer": T(zh="社区工作人员", en="Community officer"),
    "grid_worker": T(zh="网格员", en="Grid worker"),
    "village_doctor": T(zh="村医", en="Village doctor"),
    "sampler": T(zh="采样员", en="Sampler"),
    "doorkeeper": T(zh="验码员", en="Doorkeeper"),
    "checkpoint": T(zh="卡口人员", en="Checkpoint"),
}
WHOLE = T(zh="全部辖区", en="all regions")


def duration(seconds: int) -> LocalizedText:
    """Return a waiting time in seconds or minutes."""
    n, unit = (seconds, SECONDS) if seconds < 100 else (-(-seconds // 60), MINUTES)
    return LocalizedText(zh=unit.zh.replace("{n}", str(n)), en=unit.en.replace("{n}", str(n)))
