"""The cluster's certificates: one authority, a certificate per component, the key that signs service accounts.

Written once by `up` into the run directory, which goes with the cluster; private keys are readable by their
owner only. Names and organisations are what Kubernetes' authorizers expect (Node, RBAC's bootstrap roles).
"""

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from seta_playground import plan

LIFETIME = dt.timedelta(days=365)
SKEW = dt.timedelta(hours=1)


@dataclass(frozen=True)
class Wanted:
    """A certificate to be made. With `hosts` it can serve; every one can be a client."""

    file: str
    name: str
    organization: str = ""
    hosts: tuple[str, ...] = field(default=())


class Authority:
    """Signs certificates and writes them to a directory as NAME.crt and NAME.key."""

    def __init__(self, directory: Path, file: str = "ca") -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(f"seta-playground {file}", "")
        usage = x509.BasicConstraints(ca=True, path_length=0)
        signing = _key_usage(signs=True)
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(usage, critical=True).add_extension(signing, critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())
        self._write(file, self._key, self._certificate)

    def issue(self, wanted: Wanted) -> None:
        """Make and write one certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(wanted.name, wanted.organization), self._name, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs=False), critical=True)
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if wanted.hosts else [])]
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        if wanted.hosts:
            alternatives = x509.SubjectAlternativeName([_alternative(host) for host in wanted.hosts])
            builder = builder.add_extension(alternatives, critical=False)
        self._write(wanted.file, key, builder.sign(self._key, hashes.SHA256()))

    def _write(self, file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        write_secret(self._directory / f"{file}.key", _pem(key))
        (self._directory / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def create(directory: Path, cluster: plan.Plan) -> None:
    """All certificates of a cluster."""
    authority = Authority(directory)
    for wanted in certificates(cluster):
        authority.issue(wanted)
    front_proxy = Authority(directory, "front-proxy-ca")
    front_proxy.issue(Wanted("front-proxy-client", "front-proxy-client"))
    key = ec.generate_private_key(ec.SECP256R1())
    write_secret(directory / "sa.key", _pem(key))
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    (directory / "sa.pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, kind))


def certificates(cluster: plan.Plan) -> list[Wanted]:
    """Which certificates the cluster's own authority issues."""
    service = f"kubernetes.default.svc.{plan.CLUSTER_DOMAIN}".split(".")
    names = [".".join(service[:length]) for length in range(1, len(service) + 1) if length != 4]
    address = cluster.control_plane.address
    api = (*names, "localhost", cluster.control_plane.name, "127.0.0.1", address, plan.API_SERVICE_ADDRESS)
    fixed = [
        Wanted("apiserver", "kube-apiserver", hosts=api),
        Wanted("apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"),
        Wanted("etcd", "etcd", hosts=("localhost", "127.0.0.1")),
        Wanted("kube-controller-manager", "system:kube-controller-manager"),
        Wanted("kube-scheduler", "system:kube-scheduler"),
        Wanted("kube-proxy", "system:kube-proxy"),
        Wanted("admin", "kubernetes-admin", "system:masters"),
    ]
    kubelets = [
        Wanted(f"kubelet-{node.name}", f"system:node:{node.name}", "system:nodes", (node.name, node.address))
        for node in cluster.nodes
    ]
    return [*fixed, *kubelets]


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, from its first moment on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _name(common: str, organization: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - SKEW).not_valid_after(now + LIFETIME)


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
