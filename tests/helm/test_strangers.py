"""Certificates, keys and tokens, as the chart gives them to the gateway."""

import json
from pathlib import Path

from services.client import Credentials
from tests.helm.core import INTERNET, TLS, container_of, environment_of, named, pod_of
from tests.helm.manifests import environment, of_kind, one
from tests.helm.rendering import merged, notes, render


def test_openness_is_said() -> None:
    assert environment_of({})["GANTRY_INSECURE"] == "true"
    assert "GANTRY_INSECURE" not in environment_of(TLS)


def test_certificate_of_a_secret() -> None:
    manifests = render(TLS)
    secret = named(pod_of(manifests)["volumes"], "tls")["secret"]
    assert secret["secretName"] == "certificate"
    given = environment(container_of(manifests))
    assert given["GANTRY_TLS_CERTIFICATE"] == "/etc/gantry/tls/tls.crt"
    assert given["GANTRY_TLS_KEY"] == "/etc/gantry/tls/tls.key"
    assert "subPath" not in named(container_of(manifests)["volumeMounts"], "tls"), "else it would never be renewed"


def test_certificate_of_cert_manager_names_what_clients_call() -> None:
    issuer = {"enabled": True, "issuerRef": {"name": "ca", "kind": "ClusterIssuer"}, "dnsNames": ["g.example"]}
    manifests = render({"tls": {"certManager": issuer}, "auth": {"insecure": False}})
    certificate = one(manifests, "Certificate")["spec"]
    assert certificate["issuerRef"] == {"name": "ca", "kind": "ClusterIssuer", "group": "cert-manager.io"}
    assert {"g.example", "demo-gantry-gateway.apps.svc", "demo-gantry-gateway-headless.apps.svc"} <= set(
        certificate["dnsNames"]
    )
    assert named(pod_of(manifests)["volumes"], "tls")["secret"]["secretName"] == certificate["secretName"]


def test_client_certificates_are_asked_for() -> None:
    manifests = render(merged(TLS, {"tls": {"clientCa": {"secretName": "ca", "key": "bundle.pem"}}}))
    assert environment(container_of(manifests))["GANTRY_TLS_CLIENT_CA"] == "/etc/gantry/client-ca/ca.crt"
    secret = named(pod_of(manifests)["volumes"], "client-ca")["secret"]
    assert secret == {"secretName": "ca", "items": [{"key": "bundle.pem", "path": "ca.crt"}]}


def test_listed_keys_become_the_file_that_the_gateway_reads(tmp_path: Path) -> None:
    limits = {"weight": 2.5, "images_per_second": 50, "concurrent_images": 512}
    keys = [{"name": "reports", "sha256": "ab" * 32, "models": ["mnist-cgan", "*"], **limits}]
    manifests = render({"auth": {"insecure": False, "keys": keys}})
    secret = one(manifests, "Secret")
    assert json.loads(secret["stringData"]["api-keys.json"]) == {"keys": keys}
    assert named(pod_of(manifests)["volumes"], "api-keys")["secret"]["secretName"] == secret["metadata"]["name"]
    assert environment(container_of(manifests))["GANTRY_API_KEYS"] == "/etc/gantry/api-keys/api-keys.json"


def test_keys_of_an_existing_secret() -> None:
    manifests = render({"auth": {"insecure": False, "apiKeys": {"secretName": "callers", "key": "a.json"}}})
    assert not of_kind(manifests, "Secret")
    secret = named(pod_of(manifests)["volumes"], "api-keys")["secret"]
    assert secret["secretName"] == "callers"
    assert secret["items"] == [{"key": "a.json", "path": "api-keys.json"}]


def test_keys_of_an_existing_secret_under_its_former_name() -> None:
    manifests = render({"auth": {"insecure": False, "tokens": {"secretName": "callers"}}})
    secret = named(pod_of(manifests)["volumes"], "api-keys")["secret"]
    assert secret["secretName"] == "callers"
    assert secret["items"] == [{"key": "tokens.json", "path": "api-keys.json"}]


def test_jwks_from_a_url() -> None:
    jwt = {"keys": "https://login.example.com/keys", "audience": "gantry", "issuer": "me", "modelsClaim": "m"}
    values = {
        "auth": {"insecure": False, "jwt": jwt},
        "networkPolicy": {"egress": {"jwks": {"to": INTERNET}}},
    }
    given = environment_of(values)
    assert given["GANTRY_JWT_KEYS"] == "https://login.example.com/keys"
    assert (given["GANTRY_JWT_AUDIENCE"], given["GANTRY_JWT_ISSUER"]) == ("gantry", "me")
    assert given["GANTRY_JWT_MODELS_CLAIM"] == "m"


def test_jwks_of_the_values_is_a_file() -> None:
    keys = '{"keys": [{"kty": "OKP"}]}'
    manifests = render({"auth": {"insecure": False, "jwt": {"keys": keys, "audience": "gantry"}}})
    assert one(manifests, "ConfigMap", "demo-gantry-jwks")["data"] == {"jwks.json": keys}
    assert environment(container_of(manifests))["GANTRY_JWT_KEYS"] == "/etc/gantry/jwks/jwks.json"
    assert named(pod_of(manifests)["volumes"], "jwks")["configMap"] == {"name": "demo-gantry-jwks"}


def test_clients_of_the_release_trust_the_gateway_and_show_what_it_asks_for() -> None:
    client = {"tokenSecretName": "key", "certificateSecretName": "mine", "caSecretName": "company", "caKey": "ca.pem"}
    values = {"tls": {"clientCa": {"secretName": "ca"}}, "auth": {"client": {**client, "serverName": "g.example"}}}
    pod = one(render(merged(TLS, values)), "Pod", "demo-gantry-test-health")["spec"]
    given = {name: value or "" for name, value in environment(pod["containers"][0]).items()}
    assert Credentials.from_environment(given) == Credentials(
        token_file=Path("/etc/gantry/client/token/token"),
        tls=True,
        ca=Path("/etc/gantry/client/ca/ca.crt"),
        certificate=Path("/etc/gantry/client/certificate/tls.crt"),
        key=Path("/etc/gantry/client/certificate/tls.key"),
        server_name="g.example",
    )
    assert given["GANTRY_ADDRESS"] == "demo-gantry-gateway.apps.svc:50051"
    assert named(pod["volumes"], "gateway-ca")["secret"] == {
        "secretName": "company",
        "items": [{"key": "ca.pem", "path": "ca.crt"}],
    }


def test_clients_of_the_release_may_trust_public_authorities() -> None:
    values = merged(TLS, {"auth": {"client": {"caKey": "", "serverName": "g.example"}}})
    pod = one(render(values), "Pod", "demo-gantry-test-health")["spec"]
    given = {name: value or "" for name, value in environment(pod["containers"][0]).items()}
    assert Credentials.from_environment(given) == Credentials(tls=True, server_name="g.example")
    assert [volume["name"] for volume in pod["volumes"]] == ["tmp"]
    assert "get secret" not in notes(values)
    assert "GANTRY_CA" not in notes(values)


def test_clients_of_the_release_never_see_the_gateways_private_key() -> None:
    pod = one(render(TLS), "Pod", "demo-gantry-test-health")["spec"]
    assert named(pod["volumes"], "gateway-ca")["secret"] == {
        "secretName": "certificate",
        "items": [{"key": "ca.crt", "path": "ca.crt"}],
    }


def test_clients_of_the_release_send_tokens_in_plain_text_only_where_there_is_no_tls() -> None:
    values = {"auth": {"insecure": False, "apiKeys": {"secretName": "callers"}, "client": {"tokenSecretName": "key"}}}
    for more, allowed in (({}, True), ({"tls": {"secretName": "certificate"}}, False)):
        pod = one(render(merged(values, more)), "Pod", "demo-gantry-test-health")["spec"]
        given = {name: value or "" for name, value in environment(pod["containers"][0]).items()}
        assert Credentials.from_environment(given).allow_plain_text == allowed
