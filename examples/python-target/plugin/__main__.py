"""The process: what sdk/targetpb/README.md asks of every plugin, whatever it serves. The target type is contacts.py."""

import base64
import datetime
import json
import os
import signal
import sys
import threading
import traceback
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import contacts
import target_pb2 as wire

VERSION = 1  # of the wire
MAX_MESSAGE = 64 << 20


def log(level, message, **fields):
    """Writes one line to consentd's log. No value of a record and no secret may be in it."""
    print(json.dumps({"@level": level, "@message": message, **fields}), file=sys.stderr, flush=True)


def certificate():
    """Makes a key and a certificate for this process, which never leave memory."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, cert


def unary(method, request_type):
    """Makes a handler of a method. An exception is a bug, of which the log gets the kind and the place alone, since its
    text may hold a value of the record."""

    def call(request, context):
        try:
            return method(request, context)
        except contacts.NotConfigured:
            context.set_code(grpc.StatusCode.FAILED_PRECONDITION)
        except Exception as e:
            where = traceback.extract_tb(e.__traceback__)[-1]
            log("error", "bug", kind=type(e).__name__, file=os.path.basename(where.filename), line=where.lineno)
            context.set_code(grpc.StatusCode.INTERNAL)
        return None

    return grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=request_type.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


def handlers(target, closing):
    def close(request, context):
        closing.set()
        return wire.CloseResponse()

    def shutdown(request, context):
        closing.set()
        return b""

    return (
        grpc.method_handlers_generic_handler(
            "consentd.target.v1.Target",
            {
                "Describe": unary(target.describe, wire.DescribeRequest),
                "Configure": unary(target.configure, wire.ConfigureRequest),
                "Check": unary(target.check, wire.CheckRequest),
                "Deliver": unary(target.deliver, wire.DeliverRequest),
                "Read": unary(target.read, wire.ReadRequest),
                "Erase": unary(target.erase, wire.EraseRequest),
                "Close": unary(close, wire.CloseRequest),
            },
        ),
        grpc.method_handlers_generic_handler(
            "plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)}
        ),
    )


def main():
    if os.environ.get("CONSENTD_PLUGIN") != "target.v1":
        sys.exit("This is a plugin of consentd, which starts it by itself.")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = os.getppid()

    key, cert = certificate()
    credentials = grpc.ssl_server_credentials(
        [(key, cert.public_bytes(serialization.Encoding.PEM))],
        root_certificates=os.environ["PLUGIN_CLIENT_CERT"].encode(),
        require_client_auth=True,
    )
    closing = threading.Event()
    server = grpc.server(
        futures.ThreadPoolExecutor(contacts.MAX_IN_FLIGHT + 4),  # so that Close never waits for a thread
        handlers=handlers(contacts.Target(), closing),
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
        ],
    )
    path = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], f"plugin{os.getpid()}")
    if not server.add_secure_port("unix:" + path, credentials):
        sys.exit("cannot listen")
    server.start()

    der = base64.b64encode(cert.public_bytes(serialization.Encoding.DER)).decode().rstrip("=")
    print(f"1|{VERSION}|unix|{path}|grpc|{der}", flush=True)

    while not closing.wait(timeout=1):
        if os.getppid() != parent:
            log("warn", "consentd is gone, exiting")
            break
    server.stop(grace=8).wait()  # the calls under way end first, the answer to Close among them


if __name__ == "__main__":
    main()
