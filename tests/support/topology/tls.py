"""A server with TLS, which asks its clients for certificates; and an authority that makes them."""

from __future__ import annotations

import dataclasses
import datetime
import ipaddress
from pathlib import Path

from jwt_redis.testing.servers import RedisServer
from tests.support.topology.binaries import tls_binary

__all__ = ["Certificates", "make_certificates", "tls_server"]


@dataclasses.dataclass(frozen=True, slots=True)
class Certificates:
    """Files: an authority, and a certificate of its own for each of both ends."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


def make_certificates(folder: Path) -> Certificates:
    """Good for a day, and for 127.0.0.1 and localhost."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.datetime.now(tz=datetime.UTC)
    hour = datetime.timedelta(hours=1)

    def named(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])

    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_id = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_id)

    def write(name: str, key: ec.EllipticCurvePrivateKey) -> tuple[Path, Path]:
        is_ca = name == "ca"
        # Python 3.13 verifies strictly: the key identifiers and the usage have to be there.
        certificate = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named("ca"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - hour)
            .not_valid_after(now + 24 * hour)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(authority, critical=False)
            .add_extension(
                x509.KeyUsage(
                    digital_signature=True,
                    key_cert_sign=is_ca,
                    crl_sign=is_ca,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .sign(ca_key, hashes.SHA256())
        )
        paths = folder / f"{name}.crt", folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    folder.mkdir(parents=True, exist_ok=True)
    ca, _ = write("ca", ca_key)
    server, server_key = write("server", ec.generate_private_key(ec.SECP256R1()))
    client, client_key = write("client", ec.generate_private_key(ec.SECP256R1()))
    return Certificates(ca, server, server_key, client, client_key)


def tls_server(*, binary: str | None = None, options: dict[str, str] | None = None) -> RedisServer:
    """TLS alone, and a client needs a certificate too. Skips the test where no server can do that."""
    server = RedisServer(binary=binary or tls_binary().path, options=options)
    made = make_certificates(server.folder)
    server.options |= {
        "port": "0",
        "tls-port": str(server.port),
        # Relative to --dir: the folder's own path may hold spaces.
        "tls-cert-file": made.server.name,
        "tls-key-file": made.server_key.name,
        "tls-ca-cert-file": made.ca.name,
        "tls-auth-clients": "yes",
    }
    server.reach = {
        "ssl": True,
        "ssl_ca_certs": str(made.ca),
        "ssl_certfile": str(made.client),
        "ssl_keyfile": str(made.client_key),
    }
    return server
