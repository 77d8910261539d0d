"""Settings of one process: from the supervisor, or from `FANGXIAN_…` variables if the process is started by hand."""

import base64
import json
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.core.regions import level_of

Service = Literal["registry", "testing", "observation", "gateway"]
SERVICES: tuple[Service, ...] = get_args(Service)

LOCK_CONNECTIONS = 8
"""Additional connections of a worker: each feed reader uses one for its lock and another one for its work."""


def login_of(service: Service) -> str:
    """Return the login role of a service's processes."""
    return f"fangxian_{service}"


def is_address(value: str, *schemes: str) -> bool:
    """Whether a text is the URL of a server: a host, and one of the schemes (default http and https)."""
    try:
        parts = urlsplit(value)
        return parts.scheme in (schemes or ("https", "http")) and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is out of range
        return False


def is_origin(value: str) -> bool:
    """Whether a browser can send this as `Origin`: a scheme and a host in lower case, without a path."""
    parts = urlsplit(value)
    return is_address(value) and value == f"{parts.scheme}://{parts.netloc}".lower() and "@" not in parts.netloc


def is_webhook_secret(value: str) -> bool:
    """Whether a text is a Standard Webhooks secret: base64 of at least 16 bytes, with an optional prefix `whsec_`."""
    try:
        return len(base64.b64decode(value.removeprefix("whsec_"), validate=True)) >= 16
    except ValueError:
        return False


class TrustedIssuer(BaseModel):
    """An OpenID provider whose access tokens are accepted, and the limits of its claims."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(pattern=r"^https?://", description="Its `iss`, which also locates its discovery document.")
    audience: str = Field(min_length=1, description="The `aud` of its tokens for this system.")
    algorithm: Literal["RS256", "PS256", "ES256", "ES384", "Ed25519", "EdDSA"] = "RS256"
    roles: dict[str, str] = Field(description="Its role names → roles of this system. Other roles are refused.")
    region: str = Field(pattern=r"^[0-9]{0,16}$", description="Regions outside this one are refused.")
    role_claim: str = "role"
    region_claim: str = "region"
    party_claim: str = "party"


class Settings(BaseSettings):
    """The settings of one API or worker process."""

    model_config = SettingsConfigDict(env_prefix="FANGXIAN_", frozen=True, extra="ignore", enable_decoding=False)

    service: Service
    database_url: SecretStr = Field(
        description="PostgreSQL, with the runtime role of this service.",
        examples=["postgresql://fangxian_registry@db:5432/fangxian"],
    )
    redis_url: SecretStr = Field(
        description="Redis or Valkey, for wake-ups only; it stores no data.", examples=["redis://redis:6379/0"]
    )
    keys: Path = Field(description="Directory of key files, mode 0700.", examples=["/run/keys/registry"])
    master_keys: Literal["file", "environment", "kms"] = Field(
        default="file", description="Where the master key is: `master.key`, FANGXIAN_MASTER_KEY, or a KMS."
    )
    master_key: SecretStr | None = Field(
        default=None,
        description="32 bytes as base64url; several keys are separated by commas, newest first.",
        examples=["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"],
    )
    kms_url: str = Field(
        default="",
        description="A KMS with the interface of Vault's transit engine.",
        examples=["https://vault.example.cn:8200"],
    )
    kms_token: SecretStr | None = Field(default=None, examples=["hvs.a-token-of-the-kms"])
    kms_key: str = Field(default="fangxian", description="The name of the master key in the KMS.")

    registry_url: str = "http://127.0.0.1:8001"
    testing_url: str = "http://127.0.0.1:8002"
    observation_url: str = "http://127.0.0.1:8003"
    gateway_url: str = "http://127.0.0.1:8000"

    public_url: str = Field(
        default="",
        description="Public URL of the gateway, in production https; the gateway's own URL if empty.",
        examples=["https://fangxian.example.cn"],
    )
    issuers: tuple[TrustedIssuer, ...] = Field(
        default=(),
        description="Additional OpenID providers, as JSON.",
        examples=[
            '[{"issuer": "https://sso.example.cn", "audience": "fangxian", "roles": {"nurse": "sampler"}, '
            '"region": "350582"}]'
        ],
    )

    phone_gateway_url: str = Field(
        default="",
        description="URL that sends codes to phones; if empty, codes go to the log, in production nowhere.",
        examples=["https://sms.example.cn/fangxian"],
    )
    phone_gateway_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Standard Webhooks secret of the phone gateway.",
        examples=["whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="],
    )
    mini_program_id: str = Field(
        default="", description="App id of the mini-program; no mini-program if empty.", examples=["wx0123456789abcdef"]
    )
    mini_program_secret: SecretStr = Field(default=SecretStr(""), examples=["0123456789abcdef0123456789abcdef"])
    mini_program_url: str = Field(default="https://api.weixin.qq.com", description="Where its login codes are checked.")

    production: bool = Field(default=False, description="Refuses functions for development and demonstration.")
    development_issuer: bool = Field(default=True, description="Whether POST /gateway/v1/development/tokens exists.")
    demonstration_ids: bool = Field(default=False, description="Whether ID numbers of the reserved kind are accepted.")

    region: str = Field(
        default="",
        description="The region of this installation. Commanders of all of it decide for the installation.",
        examples=["350582005"],
    )
    regions_file: Path | None = Field(
        default=None,
        description="A file of regions that is imported at each start before the services open.",
        examples=["/etc/fangxian/regions.csv"],
    )
    headquarters: str = Field(
        default="",
        max_length=100,
        description="The headquarters that signs notices; if empty, notices have a blank line.",
        examples=["新塘街道疫情防控指挥部"],
    )
    plan: str = Field(
        default="",
        max_length=200,
        description="The plan that notices cite as their basis; only the protocol if empty.",
        examples=["《新塘街道新冠肺炎疫情防控工作实施方案》（2021年1月20日）第十条"],
    )

    yellow_name: Literal["", "yellow", "orange"] = Field(
        default="",
        description="The province's name of the yellow code. If empty, by region: orange in Fujian, otherwise yellow.",
        examples=["orange"],
    )

    webhook_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(), description="Private networks that webhooks may reach, as JSON.", examples=['["10.20.0.0/16"]']
    )

    requests_a_minute_per_client: int = Field(
        default=6_000, ge=1, description="Per client address. Behind a NAT one address can be many people."
    )
    requests_a_minute_per_resident: int = Field(default=120, ge=1)
    requests_a_minute_per_staff: int = Field(default=1_200, ge=1)
    requests_a_minute_per_machine: int = Field(default=6_000, ge=1, description="Per machine or door.")
    requests_in_flight: int = Field(
        default=8,
        ge=2,
        description="Concurrent ordinary requests of one gateway; half as many reports. Care is not limited.",
    )
    proxy_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="Networks of your reverse proxies, as JSON. Only their X-Forwarded-For is trusted.",
        examples=['["10.0.0.0/8"]'],
    )
    browser_origins: tuple[str, ...] = Field(
        default=(),
        description="Origins of web pages that may call this system (CORS), as JSON.",
        examples=['["https://console.example.cn"]'],
    )
    reveals_per_hour: int = Field(default=30, ge=0, description="How often one user may see unmasked data per hour.")

    database_pool: int = Field(default=6, ge=1, le=50, description="Maximum database connections of this process.")
    transaction_timeout_seconds: float = Field(default=5, gt=0)
    request_timeout_seconds: float = Field(default=30, gt=0)
    feed_retention_days: int = Field(default=14, ge=1)
    wake_subscribers: bool = Field(default=True, description="Test-only: False publishes without wake-ups.")
    publish: bool = Field(default=True, description="Test-only: False commits effects without their feed entries.")
    key_waits: float = Field(
        default=1,
        gt=0,
        le=1,
        description="Test-only: fraction of the usual wait until a new key counts as known everywhere.",
    )

    @field_validator("issuers", "webhook_networks", "proxy_networks", "browser_origins", mode="before")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError("should be JSON") from None

    @field_validator("region")
    @classmethod
    def _is_a_code(cls, value: str) -> str:
        if value and level_of(value) is None:
            raise ValueError("should be the code of a region, of 2, 4, 6, 9, 12, 14 or 16 digits")
        return value

    @field_validator(
        "public_url", "phone_gateway_url", "mini_program_url", "kms_url",
        "registry_url", "testing_url", "observation_url", "gateway_url",
    )  # fmt: skip
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if value and not is_address(value):
            raise ValueError("should begin with https:// or http:// and name a host")
        return value

    @field_validator("browser_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not is_origin(origin):
                raise ValueError(f"{origin!r} is not an origin: write scheme and host in lower case, without a path")
        return value

    @field_validator("phone_gateway_secret")
    @classmethod
    def _is_a_secret(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not is_webhook_secret(value.get_secret_value()):
            raise ValueError("should be whsec_ and the base64 of at least 16 random bytes")
        return value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        """Report all inconsistent settings at once, one per line."""
        if faults := [*self._unfit_for_production(), *self._halves()]:
            raise ValueError("\n".join(faults))
        return self

    def _unfit_for_production(self) -> Iterator[str]:
        if not self.production:
            return
        if self.development_issuer or self.demonstration_ids:
            yield "FANGXIAN_PRODUCTION needs FANGXIAN_DEVELOPMENT_ISSUER=false and FANGXIAN_DEMONSTRATION_IDS=false"
        if not is_address(self.public_url, "https"):
            yield (
                "FANGXIAN_PRODUCTION needs FANGXIAN_PUBLIC_URL, the https:// address of the gateway, "
                "as in 'https://fangxian.example.cn'"
            )
        if not (self.publish and self.wake_subscribers and self.key_waits == 1):
            yield "FANGXIAN_PUBLISH, FANGXIAN_WAKE_SUBSCRIBERS and FANGXIAN_KEY_WAITS are for tests only: unset them"

    def _halves(self) -> Iterator[str]:
        """Yield the settings that require another one."""
        if self.phone_gateway_url and not self.phone_gateway_secret.get_secret_value():
            yield (
                "FANGXIAN_PHONE_GATEWAY_URL needs FANGXIAN_PHONE_GATEWAY_SECRET, with which the gateway verifies "
                'messages: make one, as in "whsec_$(openssl rand -base64 32)"'
            )
        if bool(self.mini_program_id) != bool(self.mini_program_secret.get_secret_value()):
            yield "FANGXIAN_MINI_PROGRAM_ID and FANGXIAN_MINI_PROGRAM_SECRET need each other: set both, or neither"
        if self.master_keys == "environment" and self.master_key is None:
            yield (
                "FANGXIAN_MASTER_KEYS=environment needs FANGXIAN_MASTER_KEY, the content of keys/owner/master.key or a "
                "new key, as in '$(openssl rand -base64 32 | tr +/ -_ | tr -d =)'"
            )
        if self.master_keys == "kms" and not self.kms_url:
            yield "FANGXIAN_MASTER_KEYS=kms needs FANGXIAN_KMS_URL, as in 'https://vault.example.cn:8200'"

    @property
    def lets_residents_in(self) -> bool:
        """Whether residents can sign in: with a code to a phone, or through a mini-program."""
        return bool(self.phone_gateway_url or self.mini_program_id) or not self.production

    @property
    def yellow(self) -> Literal["yellow", "orange"]:
        """The local name of the yellow code."""
        return self.yellow_name or ("orange" if self.region.startswith("35") else "yellow")

    @property
    def issuer_url(self) -> str:
        """The issuer identifier of this system's OpenID provider."""
        return (self.public_url or self.gateway_url).rstrip("/")

    def url_of(self, service: Service) -> str:
        """Return the URL of a service's API."""
        return str(getattr(self, f"{service}_url"))
