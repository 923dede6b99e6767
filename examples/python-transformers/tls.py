"""AutoMTLS: both ends show a certificate made for this one process, and take no other.

The host's certificate has a key on P-521, which gRPC's own TLS library (BoringSSL) does not verify. So Python's ssl module, which
does, ends the TLS, and hands the bytes to gRPC over a socket in a folder that only this user may enter.
"""

import asyncio
import base64
import datetime
import os
import ssl
import tempfile
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def certificate():
    """A self-signed certificate for localhost, and its key."""
    key = ec.generate_private_key(ec.SECP521R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "outrider")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(days=3650))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
            .sign(key, hashes.SHA256()))
    return made, key


def context(client_pem):
    """A server's context that takes that client only, and the certificate as go-plugin's handshake carries it."""
    made, key = certificate()
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    c.minimum_version = ssl.TLSVersion.TLSv1_2
    c.set_alpn_protocols(["h2"])
    c.verify_mode = ssl.CERT_REQUIRED
    c.load_verify_locations(cadata=client_pem)
    with tempfile.NamedTemporaryFile() as f:  # readable by this user only
        f.write(made.public_bytes(serialization.Encoding.PEM))
        f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        f.flush()
        c.load_cert_chain(f.name)
    der = made.public_bytes(serialization.Encoding.DER)
    return c, base64.b64encode(der).decode().rstrip("=")


async def pump(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, ssl.SSLError):
        pass
    finally:
        writer.close()


def front(outer, inner, client_pem):
    """Serves TLS at the socket outer for what is served in the clear at inner; returns the certificate to tell."""
    c, told = context(client_pem) if client_pem else (None, "")
    ready = threading.Event()

    async def connected(reader, writer):
        r, w = await asyncio.open_unix_connection(inner)
        await asyncio.gather(pump(reader, w), pump(r, writer))

    async def serve():
        server = await asyncio.start_unix_server(connected, outer, ssl=c)
        os.chmod(outer, 0o600)
        ready.set()
        await server.serve_forever()

    threading.Thread(target=lambda: asyncio.run(serve()), daemon=True).start()
    if not ready.wait(10):
        raise RuntimeError("the socket cannot be served")
    return told
