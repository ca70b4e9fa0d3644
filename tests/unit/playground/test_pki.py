"""The cluster's certificates: who they name, what they may do, who may read their keys."""

import ipaddress
import pathlib
import stat

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from seta_playground import kubeconfig, pki, plan


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    directory = tmp_path_factory.mktemp("run") / "pki"
    pki.create(directory, plan.make("seta", 3))
    return directory


def certificate(directory: pathlib.Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / f"{name}.crt").read_bytes())


def subject(directory: pathlib.Path, name: str) -> tuple[str, str]:
    found = certificate(directory, name).subject
    organizations = found.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    common = found.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    return str(common), str(organizations[0].value) if organizations else ""


def test_secrets_are_readable_by_their_owner_only(directory: pathlib.Path):
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    keys = list(directory.glob("*.key"))
    assert len(keys) > 10
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


@pytest.mark.parametrize(
    ("name", "common", "organization"),
    [
        ("admin", "kubernetes-admin", "system:masters"),
        ("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        ("kubelet-k8s-w2", "system:node:k8s-w2", "system:nodes"),
        ("kube-controller-manager", "system:kube-controller-manager", ""),
        ("kube-scheduler", "system:kube-scheduler", ""),
        ("kube-proxy", "system:kube-proxy", ""),
    ],
)
def test_each_component_is_who_the_authorizers_expect(directory, name: str, common: str, organization: str):
    assert subject(directory, name) == (common, organization)


def test_every_certificate_is_signed_by_the_clusters_authority(directory: pathlib.Path):
    authority = certificate(directory, "ca")
    for wanted in pki.certificates(plan.make("seta", 3)):
        certificate(directory, wanted.file).verify_directly_issued_by(authority)


def test_only_authorities_may_sign(directory: pathlib.Path):
    def may_sign(file: pathlib.Path) -> bool:
        return certificate(directory, file.stem).extensions.get_extension_for_class(x509.BasicConstraints).value.ca

    assert {file.stem for file in directory.glob("*.crt") if may_sign(file)} == {"ca", "front-proxy-ca"}


def test_the_api_server_answers_to_all_its_names_and_addresses(directory: pathlib.Path):
    names = certificate(directory, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "k8s-s",
    } == set(names.get_values_for_type(x509.DNSName))
    wanted = {"127.0.0.1", plan.CONTROL_PLANE_ADDRESS, plan.API_SERVICE_ADDRESS}
    assert {ipaddress.ip_address(address) for address in wanted} == set(names.get_values_for_type(x509.IPAddress))


def test_what_does_not_serve_cannot(directory: pathlib.Path):
    uses = certificate(directory, "kube-scheduler").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_keys_are_of_a_curve_that_is_quick_to_make(directory: pathlib.Path):
    key = certificate(directory, "admin").public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)


def test_the_administrators_kubeconfig_can_be_copied_and_only_its_owner_reads_it(directory, tmp_path: pathlib.Path):
    file = tmp_path / "kubeconfig"
    kubeconfig.write_admin(file, "seta", "https://127.0.0.1:6443", directory)
    content = yaml.safe_load(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert set(content["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_a_secret_that_is_written_again_is_never_readable_by_others(tmp_path: pathlib.Path):
    file = tmp_path / "secret"
    file.write_text("old")
    file.chmod(0o644)
    pki.write_secret(file, b"new")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"new", 0o600)
