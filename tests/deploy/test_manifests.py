"""The manifests agree with the program: their commands, settings, ports, addresses, limits and keys are its own.

No container runs here; what is looked at is what would break them when something of ours is renamed.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from deploy import alone, children, cli, keys, variables
from services.gateway.edge import reverse_proxy
from services.gateway.edge.priority_class import PriorityClass, priority_class_of
from shared.core.settings import SERVICES, Service, Settings
from shared.http import limits
from shared.runtime import app as apps
from tests.deploy.starting import ROOT
from tests.harness import District

DEPLOY = ROOT / "deploy"
PORT = 8000
PROCESSES = {("serve", service, "0.0.0.0", PORT) for service in SERVICES} | {("work", service) for service in SERVICES}

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
NGINX = (DEPLOY / "nginx" / "fangxian.conf").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
KUSTOMIZATION = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text(encoding="utf-8"))
OBJECTS: list[dict[str, Any]] = [
    thing
    for name in KUSTOMIZATION["resources"]
    for thing in yaml.safe_load_all((DEPLOY / "kubernetes" / name).read_text(encoding="utf-8"))
]

Called = list[tuple[Any, ...]]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"FANGXIAN_[A-Z_]+", (DEPLOY / "compose.yaml").read_text()))))
def test_what_compose_names_is_a_setting(name: str) -> None:
    assert variables.unknown({name: ""}) == []


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [thing for thing in OBJECTS if thing["kind"] == kind]


def pod_of(thing: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = thing["spec"]["template"]
    return found


OURS = {name: one for name, one in COMPOSE["services"].items() if "fangxian" in one["image"]}
PODS = {thing["metadata"]["name"]: pod_of(thing) for thing in (*of_kind("Deployment"), *of_kind("Job"))}
ENVIRONMENTS = {
    "compose": next(one["environment"] for name, one in OURS.items() if name == "gateway"),
    "kubernetes": of_kind("ConfigMap")[0]["data"] | {"FANGXIAN_REDIS_URL": "redis://cache"},
}

TO_BE_SAID = {"${FANGXIAN_PUBLIC_URL:?}": "https://fangxian.example"}
"""What compose does not start without."""


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Called:
    """What a command comes to, instead of doing it."""
    found: Called = []
    monkeypatch.setattr(alone, "serve", lambda *args: found.append(("serve", *args)))
    monkeypatch.setattr(alone, "work", lambda *args: found.append(("work", *args)))
    monkeypatch.setattr(alone, "migrate_with", lambda url, path: found.append(("migrate", path)))
    monkeypatch.setattr(keys, "make", lambda path: found.append(("keys", path)))
    monkeypatch.setattr(keys, "require", lambda path: None)
    return found


def run(args: list[str]) -> None:
    result = CliRunner().invoke(cli.app, args)
    assert result.exit_code == 0, (args, result.output)


def test_the_commands_of_compose_are_ours(called: Called) -> None:
    for one in OURS.values():
        run(one["command"])
    owner = Path("/state/keys/owner")
    assert sorted(map(str, called)) == sorted(map(str, [*PROCESSES, ("keys", owner.parent), ("migrate", owner)]))


def test_the_commands_of_kubernetes_are_ours(called: Called) -> None:
    for pod in PODS.values():
        run(pod["spec"]["containers"][0]["args"])
    assert sorted(map(str, called)) == sorted(map(str, [*PROCESSES, ("migrate", Path("/keys"))]))


@pytest.mark.parametrize("where", ENVIRONMENTS)
def test_every_variable_is_a_setting_and_none_is_missing(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.make(tmp_path / "keys")
    names = {f"FANGXIAN_{name.upper()}" for name in Settings.model_fields}
    assert set(ENVIRONMENTS[where]) <= names
    for name, value in ENVIRONMENTS[where].items():
        default = re.fullmatch(r"\$\{\w+:-(.+)\}", str(value))
        monkeypatch.setenv(name, default[1] if default else TO_BE_SAID.get(str(value), str(value)))
    for service in SERVICES:
        monkeypatch.setenv("FANGXIAN_KEYS", str(tmp_path / "keys" / service))
        settings = alone.settings_of(service)
        assert settings.production
        assert settings.proxy_networks  # else all who come through the proxy are one client
        assert f"//fangxian_{service}:" in settings.database_url.get_secret_value()
        assert {settings.url_of(peer) for peer in SERVICES} == {f"http://{peer}:{PORT}" for peer in SERVICES}


def test_every_peer_is_where_its_address_says() -> None:
    assert set(SERVICES) <= set(OURS)
    for service in of_kind("Service"):
        (port,) = service["spec"]["ports"]
        pod = PODS[service["metadata"]["name"]]
        assert port["port"] == PORT
        assert pod["spec"]["containers"][0]["ports"] == [{"name": port["targetPort"], "containerPort": PORT}]
        assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert {service["metadata"]["name"] for service in of_kind("Service")} == set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_each_process_gets_its_own_keys_and_no_others(service: Service) -> None:
    for name in (service, f"{service}-worker"):
        (volume,) = OURS[name]["volumes"]
        assert (volume["target"], volume["volume"]["subpath"], volume["read_only"]) == (
            OURS[name]["environment"]["FANGXIAN_KEYS"],
            f"keys/{service}",
            True,
        )
        volumes = {one["name"]: one for one in PODS[name]["spec"]["volumes"]}
        assert volumes["keys"]["secret"]["secretName"] == f"fangxian-keys-{service}"


def test_the_documents_make_every_secret_that_is_referenced(repository: Path) -> None:
    document = (repository / "docs" / "running.md").read_text(encoding="utf-8")
    made = set(re.findall(r"create secret generic (fangxian-[\w$-]+)", document))
    needed = {volume["secret"]["secretName"] for pod in PODS.values() for volume in pod["spec"]["volumes"][:1]}
    needed |= {"fangxian-redis"}
    assert {name.replace("$service", service) for name in made for service in SERVICES} == needed


async def test_the_probes_are_answered(running: District) -> None:
    asked = set(re.findall(rf"127\.0\.0\.1:{PORT}(/\w+)", DOCKERFILE))
    for name in SERVICES:
        (container,) = PODS[name]["spec"]["containers"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] == container["ports"][0]["name"]
            asked.add(container[probe]["httpGet"]["path"])
    assert asked == {"/livez", "/readyz"}
    answers = {path: (await running._clients["gateway"].get(path)).status_code for path in asked}
    assert answers == {"/livez": 200, "/readyz": 200}


@dataclass(frozen=True)
class End:
    """Somebody who sends or is sent something: a pod by its labels, or one of another namespace."""

    labels: tuple[tuple[str, str], ...] = ()
    namespace: str = ""


def end(name: str) -> End:
    return End(tuple(PODS[name]["metadata"]["labels"].items())) if name in PODS else End((), name)


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", ()))


def admits(peer: Mapping[str, Any], other: End) -> bool:
    if "namespaceSelector" in peer:
        return selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
    return "podSelector" in peer and not other.namespace and selects(peer["podSelector"], dict(other.labels))


def may(sender: End, receiver: End) -> bool:
    """Whether the policies let one reach the other at our port."""
    ways = (("Ingress", "ingress", "from", receiver, sender), ("Egress", "egress", "to", sender, receiver))
    for kind, rules, key, subject, other in ways:
        if subject.namespace:
            continue
        policies = [
            one["spec"]
            for one in of_kind("NetworkPolicy")
            if kind in one["spec"]["policyTypes"] and selects(one["spec"]["podSelector"], dict(subject.labels))
        ]
        assert policies, "whoever no policy names is open to all"
        if not any(
            any(admits(peer, other) for peer in rule.get(key, ()))
            and all(port["port"] == PORT for port in rule.get("ports", ()))
            for policy in policies
            for rule in policy.get(rules, ())
        ):
            return False
    return True


def reaches() -> Iterator[tuple[str, str, bool]]:
    workers = [f"{service}-worker" for service in SERVICES]
    behind = [service for service in SERVICES if service != "gateway"]
    yield "ingress-nginx", "gateway", True
    for service in behind:
        yield "ingress-nginx", service, False
        yield "gateway", service, True
        yield service, "gateway", False
        yield service, behind[0], False
    for receiver in SERVICES:
        yield "monitoring", receiver, True
        yield "default", receiver, False
        for worker in workers:
            yield worker, receiver, True
            yield receiver, worker, False
        yield "migrate", receiver, False


@pytest.mark.parametrize(("sender", "receiver", "expected"), list(reaches()))
def test_who_reaches_whom(sender: str, receiver: str, expected: bool) -> None:
    assert may(end(sender), end(receiver)) is expected


def test_nothing_runs_as_root_or_writes_where_it_should_not() -> None:
    for pod in PODS.values():
        spec = pod["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"]
        assert re.search(rf"^USER {spec['securityContext']['runAsUser']}:", DOCKERFILE, re.MULTILINE)
    for one in OURS.values():
        assert (one["read_only"], one["cap_drop"]) == (True, ["ALL"])


def test_what_keeps_the_gateway_up_names_it() -> None:
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    assert any((one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"]) for one in OBJECTS)
    for budget in of_kind("PodDisruptionBudget"):
        labels = PODS[budget["metadata"]["name"]]["metadata"]["labels"]
        assert selects(budget["spec"]["selector"], labels)
    assert {budget["metadata"]["name"] for budget in of_kind("PodDisruptionBudget")} == set(SERVICES)


def test_a_pod_is_given_the_time_its_process_takes_to_drain() -> None:
    for name in SERVICES:
        spec = PODS[name]["spec"]
        (container,) = spec["containers"]
        before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert spec["terminationGracePeriodSeconds"] > before + children.DRAIN_SECONDS
        assert int(OURS[name]["stop_grace_period"].removesuffix("s")) > children.DRAIN_SECONDS


def test_every_manifest_is_listed() -> None:
    files = {path.name for path in (DEPLOY / "kubernetes").iterdir()} - {"kustomization.yaml"}
    assert files == set(KUSTOMIZATION["resources"])
    assert KUSTOMIZATION["images"][0]["newTag"] == PROJECT["version"]
    assert OURS["gateway"]["image"] == f"fangxian:${{FANGXIAN_VERSION:-{PROJECT['version']}}}"


def test_the_image_holds_what_the_program_needs() -> None:
    assert f'ENTRYPOINT ["{next(iter(PROJECT["scripts"]))}"]' in DOCKERFILE
    assert len(re.findall(r"^FROM python:", DOCKERFILE, re.MULTILINE)) == 2
    assert {"services", "shared", "migrations", "deploy"} <= set(re.findall(r"^COPY (\w+) ", DOCKERFILE, re.MULTILINE))
    (left_behind,) = re.findall(r"pip uninstall --yes (.*) pip$", DOCKERFILE, re.MULTILINE)
    names = {re.split(r"[^\w-]", dependency)[0] for dependency in PROJECT["dependencies"]}
    assert set(left_behind.split()) <= names | {"setuptools"}
    (extra,) = re.findall(r"'\.\[(\w+)\]'", DOCKERFILE)
    assert extra in PROJECT["optional-dependencies"]


def seconds(directive: str, text: str = NGINX) -> int:
    (found,) = set(re.findall(rf"^\s*{directive} (\d+)s;", text, re.MULTILINE))
    return int(found)


def test_nginx_is_as_patient_and_as_strict_as_the_gateway() -> None:
    (imports,) = re.findall(r"location = (\S+) \{(.*?)\n    \}", NGINX, re.DOTALL)
    everything = NGINX.replace(imports[1], "")
    request = Settings.model_fields["request_timeout_seconds"].default
    assert f"server 127.0.0.1:{PORT};" in NGINX
    assert seconds("keepalive_timeout") < children.KEEP_ALIVE_SECONDS
    assert request < seconds("proxy_read_timeout", everything) < request + 10
    assert (imports[0],) == reverse_proxy.UPLOADS
    assert seconds("proxy_read_timeout", imports[1]) > apps.UPLOAD_SECONDS
    megabytes = re.findall(r"client_max_body_size (\d+)m;", NGINX)
    assert [int(size) << 20 for size in megabytes] == [limits.BODY_BYTES, limits.UPLOAD_BYTES]
    assert f"large_client_header_buffers 4 {limits.HEADER_BYTES >> 10}k;" in NGINX


def test_compose_believes_its_own_bridge_and_nobody_else() -> None:
    (pool,) = COMPOSE["networks"]["outside"]["ipam"]["config"]
    believed = re.fullmatch(r"\$\{FANGXIAN_PROXY_NETWORKS:-(.+)\}", ENVIRONMENTS["compose"]["FANGXIAN_PROXY_NETWORKS"])
    assert believed is not None
    assert json.loads(believed[1]) == [f"{pool['gateway']}/32"]


CARE = (
    "/gateway/v1/forward-auth/service-hall/x",
    "/gateway/v1/verifications",
    "/gateway/v1/code",
    "/gateway/v1/code.svg",
    "/gateway/v1/hooks/desk_120",
    "/gateway/v1/phone-challenges",
    "/services/fever-clinic/a/b",
    "/observation/v1/referrals",
    "/observation/v1/referrals/x/handed-over",
    "/oauth/token",
    "/sign-in/start",
)
OTHERS = (
    "/",
    "/nothing",
    "/gateway/v1/codes/counts",
    "/gateway/v1/hooks",
    "/observation/v1/referrals-of-nobody",
    "/testing/v1/samples",
    "/registry/v1/imports",
)


def test_nginx_limits_no_care_by_address() -> None:
    (listed,) = re.findall(r"map \$uri \$fangxian_limited \{\n(.*?)\n\}", NGINX, re.DOTALL)
    free = [re.compile(pattern) for pattern in re.findall(r'"~(.+?)" "";', listed)]
    for path in (*CARE, *OTHERS):
        assert any(pattern.search(path) for pattern in free) is (path in CARE), path
        if "forward-auth" not in path:  # it stands in front of the guard
            cared = {priority_class_of(method, path) is PriorityClass.CARE for method in ("GET", "POST")}
            assert (True in cared) is (path in CARE), path
    assert "limit_req_zone $binary_remote_addr" not in NGINX


def test_nginx_tells_and_keeps_no_more_than_it_should() -> None:
    assert (
        "X-Request-Id" not in NGINX
    )  # a new one for each would make every head another (shared/http/request_heads.py)
    assert 'proxy_set_header traceparent "";' in NGINX
    for inside in ("/internal/", "/metrics", "/readyz"):
        assert re.search(rf"location (= )?{inside} \{{ return 404; \}}", NGINX)
    (form,) = re.findall(r"log_format fangxian '(.*)';", NGINX)
    (link,) = re.findall(r"location /sign-in/link/ \{(.*?)\n    \}", NGINX, re.DOTALL)
    assert "access_log off;" in link  # the path of a one-time link is its secret
    assert "$sent_http_x_request_id" in form.split()
    assert not {"$request", "$request_uri", "$args", "$query_string", "$remote_addr"} & set(form.split())
