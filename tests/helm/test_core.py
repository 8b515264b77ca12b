"""What the chart calls its objects, which images it runs, how the gateway is reached, and what deployments add."""

import re
import shutil
from pathlib import Path

import pytest

from tests.helm.core import OWN, SIDECAR, TLS, container_of, named, pod_of
from tests.helm.manifests import PodTemplate, environment, of_kind, one, pod_templates, selects
from tests.helm.rendering import CHART, load_values, merged, notes, read_yaml, render


def test_names_begin_with_the_release_and_the_application() -> None:
    names = {each["metadata"]["name"] for each in render({})}
    assert all(name.startswith("demo-gantry") for name in names)


def test_release_called_after_the_application_does_not_say_it_twice() -> None:
    assert one(render({}, name="gantry-eu"), "Deployment")["metadata"]["name"] == "gantry-eu-gateway"


@pytest.mark.parametrize("name", ["123", "1e3", "true", "null"])
def test_release_whose_name_looks_like_something_else(name: str) -> None:
    for pod in pod_templates(render({"serviceAccount": {"create": False, "name": name}}, name=name)):
        assert pod.labels["app.kubernetes.io/instance"] == name
        assert pod.spec["serviceAccountName"] == name


def test_labels_and_annotations_of_all_reach_objects_and_pods_but_selectors() -> None:
    manifests = render({"commonLabels": {"team": "vision"}, "commonAnnotations": {"owner": "me"}})
    for manifest in manifests:
        assert manifest["metadata"]["labels"]["team"] == "vision"
        assert manifest["metadata"]["annotations"]["owner"] == "me"
    for pod in pod_templates(manifests):
        assert pod.labels["team"] == "vision"
    assert "team" not in one(manifests, "Deployment")["spec"]["selector"]["matchLabels"]


def test_labels_of_the_values_cannot_change_what_selects() -> None:
    deployment = one(
        render({"commonLabels": {"app.kubernetes.io/component": "other"}, "gateway": {"podLabels": {"tier": "a"}}}),
        "Deployment",
    )
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels["tier"] == "a"
    assert selects(deployment["spec"]["selector"], labels)


def test_a_new_version_of_the_chart_changes_no_pod_and_no_job(tmp_path: Path) -> None:
    """It would restart gateways for nothing, and a Job refuses every change of its pods."""
    newer = Path(shutil.copytree(CHART, tmp_path / "gantry"))
    text = (newer / "Chart.yaml").read_text()
    (newer / "Chart.yaml").write_text(re.sub(r"^version: .*$", "version: 99.0.0", text, flags=re.MULTILINE))
    for values in (OWN, CHART / "ci/batch-values.yaml", CHART / "ci/training-values.yaml"):
        before, after = (
            {
                str(pod): (pod.metadata, pod.spec)
                for pod in pod_templates(render(values, chart=chart))
                if not is_test(pod)
            }
            for chart in (CHART, newer)
        )
        assert before == after


def is_test(pod: PodTemplate) -> bool:
    return pod.owner["kind"] == "Pod"


def test_the_charts_version_is_the_projects() -> None:
    (chart,) = read_yaml((CHART / "Chart.yaml").read_text())
    project = (CHART.parents[1] / "pyproject.toml").read_text()
    assert f'version = "{chart["appVersion"]}"' in project
    assert chart["kubeVersion"] == ">=1.30.0-0"


def test_tag_is_the_charts_version_unless_given() -> None:
    assert container_of(render({}))["image"] == "ghcr.io/gantry/gateway-embedded:0.1.0"
    given = {"images": {"gatewayEmbedded": {"tag": "0.1.0-cuda"}}}
    assert container_of(render(given))["image"] == "ghcr.io/gantry/gateway-embedded:0.1.0-cuda"


def test_digest_wins_over_the_tag() -> None:
    digest = "sha256:" + "0" * 64
    given = {"images": {"gatewayEmbedded": {"repository": "r.example/g", "tag": "1", "digest": digest}}}
    assert container_of(render(given))["image"] == f"r.example/g@{digest}"


def test_modes_with_torchserve_take_the_gateway_without_torch() -> None:
    for values in (SIDECAR, OWN):
        assert container_of(render(values))["image"] == "ghcr.io/gantry/gateway:0.1.0"


def test_pull_secrets_reach_every_pod() -> None:
    for pod in pod_templates(render(merged(OWN, {"imagePullSecrets": [{"name": "registry"}]}))):
        assert pod.spec["imagePullSecrets"] == [{"name": "registry"}]


def test_clients_that_balance_see_the_pods() -> None:
    assert not [each for each in of_kind(render({}), "Service") if each["spec"].get("clusterIP") == "None"]
    manifests = render({"service": {"headless": {"enabled": True}, "port": 443}})
    (port,) = one(manifests, "Service", "demo-gantry-gateway-headless")["spec"]["ports"]
    assert port["port"] == 50051, "there is no address that could map ports"
    (port,) = one(manifests, "Service", "demo-gantry-gateway")["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (443, "grpc")


def test_load_balancer_may_show_the_addresses_of_callers() -> None:
    values = load_values(CHART / "ci/tls-secret-keys-values.yaml")
    assert one(render(values), "Service")["spec"]["externalTrafficPolicy"] == "Local"
    assert "externalTrafficPolicy" not in one(render({}), "Service")["spec"]


def test_protocol_is_named() -> None:
    assert one(render({}), "Service")["spec"]["ports"][0]["appProtocol"] == "kubernetes.io/h2c"
    assert "appProtocol" not in one(render(TLS), "Service")["spec"]["ports"][0]
    assert one(render({"service": {"appProtocol": "grpc"}}), "Service")["spec"]["ports"][0]["appProtocol"] == "grpc"


def test_account_may_be_another() -> None:
    values = {"serviceAccount": {"create": False, "name": "theirs"}}
    manifests = render(values)
    assert not of_kind(manifests, "ServiceAccount")
    assert pod_of(manifests)["serviceAccountName"] == "theirs"


def test_route_leads_to_the_public_services() -> None:
    values = {"grpcRoute": {"enabled": True, "parentRefs": [{"name": "public"}], "hostnames": ["g.example"]}}
    route = one(render(merged(values, {"service": {"port": 443}})), "GRPCRoute")["spec"]
    (rule,) = route["rules"]
    assert [match["method"]["service"] for match in rule["matches"]] == [
        "gantry.v1.GenerationService",
        "gantry.v1.ModelService",
    ]
    assert rule["backendRefs"] == [{"name": "demo-gantry-gateway", "port": 443}]
    assert route["hostnames"] == ["g.example"]


def test_everything_that_is_added_arrives() -> None:
    values = load_values(CHART / "ci/everything-on-values.yaml")
    manifests = render(values)
    deployment = one(manifests, "Deployment", "pictures-of-every-kind-gateway")["spec"]["template"]
    spec, added = deployment["spec"], values["gateway"]
    gateway = named(spec["containers"], "gateway")
    assert [each for each in gateway["env"] if each in added["extraEnv"]] == added["extraEnv"]
    assert gateway["envFrom"] == added["extraEnvFrom"]
    assert added["extraVolumes"][0] in spec["volumes"]
    assert added["extraVolumeMounts"][0] in gateway["volumeMounts"]
    assert added["extraContainers"][0] in spec["containers"]
    assert spec["initContainers"][0] == added["extraInitContainers"][0]
    assert deployment["metadata"]["annotations"]["example.com/note"] == "front door"
    torchserve = named(spec["initContainers"], "torchserve")
    assert environment(torchserve)["JDK_JAVA_OPTIONS"] == "-Xmx1g"


def test_further_objects_are_rendered() -> None:
    values = {
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-a"}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Namespace }}-b\n",
        ]
    }
    names = [each["metadata"]["name"] for each in of_kind(render(values), "ConfigMap")]
    assert names == ["demo-a", "apps-b"]


def test_openness_is_warned_of() -> None:
    assert "WARNING: auth.insecure is true" in notes({})
    assert "that is everybody in the cluster" in notes({"networkPolicy": {"enabled": False}})
    assert "WARNING" not in notes(TLS)


def test_tokens_in_plain_text_are_warned_of() -> None:
    values = {"auth": {"insecure": False, "apiKeys": {"secretName": "callers"}}}
    assert "tokens travel in plain text" in notes(values)
    assert "export GANTRY_TOKEN=" in notes(values)


def test_next_commands_fit_the_release() -> None:
    text = notes(merged(TLS, {"service": {"port": 443}}))
    assert "port-forward service/demo-gantry-gateway 50051:443" in text
    assert "GANTRY_SERVER_NAME=demo-gantry-gateway.apps.svc" in text
    assert "gantry sample mnist-cgan --address localhost:50051" in text
