"""Settings of one process: made by the supervisor, or read from `FANGXIAN_…` where a process is started by hand."""

import json
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Service = Literal["registry", "testing", "observation", "gateway"]
SERVICES: tuple[Service, ...] = get_args(Service)

LOCK_CONNECTIONS = 8
"""Of a worker, beside its pool: each reader of a feed holds one for its lock beside the one it works on."""


def login_of(service: Service) -> str:
    """The login role of a service's processes."""
    return f"fangxian_{service}"


class TrustedIssuer(BaseModel):
    """An OpenID provider whose access tokens are taken, and how far its word goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str = Field(pattern=r"^https?://", description="Its `iss`, under which its discovery document is found.")
    audience: str = Field(min_length=1, description="What its tokens for us name as `aud`.")
    algorithm: Literal["RS256", "PS256", "ES256", "ES384", "Ed25519", "EdDSA"] = "RS256"
    roles: dict[str, str] = Field(description="What it calls a role → ours. It speaks for no other.")
    region: str = Field(pattern=r"^[0-9]{0,16}$", description="It speaks for nothing outside this region.")
    role_claim: str = "role"
    region_claim: str = "region"
    party_claim: str = "party"


class Settings(BaseSettings):
    """What one API or worker process needs to know."""

    model_config = SettingsConfigDict(env_prefix="FANGXIAN_", frozen=True, extra="ignore", enable_decoding=False)

    service: Service
    database_url: SecretStr = Field(description="PostgreSQL, as this service's own runtime role.")
    redis_url: SecretStr = Field(description="Redis or Valkey: wake-ups only, never truth.")
    keys: Path = Field(description="Directory of key files, mode 0700.")
    master_keys: Literal["file", "environment", "kms"] = Field(
        default="file", description="Where the master key is: `master.key`, FANGXIAN_MASTER_KEY, or a KMS."
    )
    master_key: SecretStr | None = Field(
        default=None, description="32 bytes as base64url; several, the newest first, separated by commas."
    )
    kms_url: str = Field(default="", description="A KMS with the interface of Vault's transit engine.")
    kms_token: SecretStr | None = None
    kms_key: str = Field(default="fangxian", description="The name of the master key in the KMS.")

    registry_url: str = "http://127.0.0.1:8001"
    testing_url: str = "http://127.0.0.1:8002"
    observation_url: str = "http://127.0.0.1:8003"
    gateway_url: str = "http://127.0.0.1:8000"

    public_url: str = Field(
        default="", description="Where people reach the gateway, in production by https; its own address if empty."
    )
    issuers: tuple[TrustedIssuer, ...] = Field(
        default=(),
        description="OpenID providers beside our own, as JSON.",
        examples=[
            '[{"issuer": "https://sso.example.cn", "audience": "fangxian", "roles": {"nurse": "sampler"}, '
            '"region": "350582"}]'
        ],
    )

    phone_gateway_url: str = Field(default="", description="Where codes to phones are posted; the log if empty.")
    phone_gateway_secret: SecretStr = Field(default=SecretStr(""), description="Standard Webhooks secret for it.")
    mini_program_id: str = Field(default="", description="App id at the mini-program's platform; none if empty.")
    mini_program_secret: SecretStr = SecretStr("")
    mini_program_url: str = Field(default="https://api.weixin.qq.com", description="Where its login codes are told.")

    production: bool = Field(default=False, description="Refuses whatever is for development and demonstration only.")
    development_issuer: bool = Field(default=True, description="Whether POST /gateway/v1/development/tokens exists.")
    demonstration_ids: bool = Field(default=False, description="Whether ID numbers of the reserved kind are accepted.")

    region: str = Field(
        default="",
        pattern=r"^([0-9]{2,16})?$",
        description="What this installation serves: who commands all of it decides for it.",
    )

    yellow_name: Literal["", "yellow", "orange"] = Field(
        default="",
        description="What the province calls the yellow code. By the region if empty: orange in Fujian, else yellow.",
    )

    webhook_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(), description="Networks of our own that webhooks may go to, as JSON.", examples=['["10.20.0.0/16"]']
    )

    requests_a_minute_per_client: int = Field(
        default=6_000, ge=1, description="Of one network address, behind it many."
    )
    requests_a_minute_per_resident: int = Field(default=120, ge=1)
    requests_a_minute_per_staff: int = Field(default=1_200, ge=1)
    requests_a_minute_per_machine: int = Field(default=6_000, ge=1, description="Of a machine or a door.")
    requests_in_flight: int = Field(
        default=8,
        ge=2,
        description="Ordinary requests one gateway works on at once, reports half as many; care is free.",
    )
    proxy_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        default=(),
        description="Where our own reverse proxies are: only their X-Forwarded-For is believed, as JSON.",
        examples=['["10.0.0.0/8"]'],
    )
    browser_origins: tuple[str, ...] = Field(
        default=(),
        description="Web pages that may call us (CORS), as JSON.",
        examples=['["https://console.example.cn"]'],
    )
    reveals_per_hour: int = Field(default=30, ge=0, description="How often one person may see somebody in clear.")

    database_pool: int = Field(default=6, ge=1, le=50, description="Connections this process may hold.")
    transaction_timeout_seconds: float = Field(default=5, gt=0)
    request_timeout_seconds: float = Field(default=30, gt=0)
    feed_retention_days: int = Field(default=14, ge=1)
    wake_subscribers: bool = Field(default=True, description="Test-only: False publishes without waking anyone.")
    publish: bool = Field(default=True, description="Test-only: False commits effects without their feed entries.")
    key_waits: float = Field(
        default=1,
        gt=0,
        le=1,
        description="Test-only: part of the usual time after which a new key counts as seen.",
    )

    @field_validator("issuers", "webhook_networks", "proxy_networks", "browser_origins", mode="before")
    @classmethod
    def _is_json(cls, value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError("should be JSON") from None

    @model_validator(mode="after")
    def _production_is_strict(self) -> Self:
        if self.production and (self.development_issuer or self.demonstration_ids):
            raise ValueError(
                "FANGXIAN_PRODUCTION needs FANGXIAN_DEVELOPMENT_ISSUER=false and FANGXIAN_DEMONSTRATION_IDS=false"
            )
        public = urlsplit(self.public_url)
        if self.production and not (public.scheme == "https" and public.hostname):
            raise ValueError("FANGXIAN_PRODUCTION needs FANGXIAN_PUBLIC_URL, the https:// address of the gateway")
        if self.production and not (self.publish and self.wake_subscribers and self.key_waits == 1):
            raise ValueError("FANGXIAN_PUBLISH, FANGXIAN_WAKE_SUBSCRIBERS and FANGXIAN_KEY_WAITS are for tests only")
        return self

    @model_validator(mode="after")
    def _master_key_is_somewhere(self) -> Self:
        if self.master_keys == "environment" and self.master_key is None:
            raise ValueError("FANGXIAN_MASTER_KEYS=environment needs FANGXIAN_MASTER_KEY")
        if self.master_keys == "kms" and not self.kms_url:
            raise ValueError("FANGXIAN_MASTER_KEYS=kms needs FANGXIAN_KMS_URL")
        return self

    @property
    def yellow(self) -> Literal["yellow", "orange"]:
        """What people here call the yellow code."""
        return self.yellow_name or ("orange" if self.region.startswith("35") else "yellow")

    @property
    def issuer_url(self) -> str:
        """The identifier of our own OpenID provider."""
        return (self.public_url or self.gateway_url).rstrip("/")

    def url_of(self, service: Service) -> str:
        """Where a service's API listens."""
        return str(getattr(self, f"{service}_url"))
