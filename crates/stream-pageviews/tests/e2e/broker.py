"""Runs Apache Kafka on this machine: a broker with the listeners and the sign-in of Event Hubs.

As a program, this runs one broker until it is interrupted, and prints the settings with which stream-pageviews reaches
it. The broker's data is kept in its directory. KAFKA_JARS names the directory with Kafka's JAR files; `.ci/kafka` sets
it.
"""

import argparse
import base64
import contextlib
import datetime
import http.server
import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import threading
import time
import urllib.parse
import uuid

import jwt
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

TOPICS = ("pageviews", "stars")
PARTITIONS = 4
# The namespace of Event Hubs whose tokens the broker accepts, and the identity that they are issued for.
NAMESPACE = "playground"
IDENTITY = "playground-identity"
ISSUER = "https://sts.example/"
# The AZURE_CLIENT_ID of an identity whose tokens have expired.
EXPIRED_CLIENT = "00000000-0000-0000-0000-00000000dead"
KEY = "PLANTEDkey"
CONNECTION_STRING = f"Endpoint=sb://localhost/;SharedAccessKeyName=send;SharedAccessKey={KEY};UseDevelopmentEmulator=true"
# The names of a client with a connection string and of one with a token, in access control lists.
PRINCIPALS = ("User:$ConnectionString", f"User:{IDENTITY}")
# The protocols that stream-pageviews supports, and the one that the controllers use among each other.
LISTENERS = ("PLAINTEXT", "SASL_SSL", "SSL", "SASL_PLAINTEXT", "CONTROLLER")
SASL = "org.apache.kafka.common.security"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def succeeded(result, expected):
    """Returns whether a request to the broker succeeded. Raises any error other than `expected`."""
    try:
        result.result()
        return True
    except KafkaException as error:
        if error.args[0].code() != expected:
            raise
        return False


class Authority:
    """A certificate authority and the certificate of the brokers, in the files ca.pem and server.pem."""

    def __init__(self, directory):
        self.ca_file, self.server_file = directory / "ca.pem", directory / "server.pem"
        now = datetime.datetime.now(datetime.timezone.utc)

        def certificate(name, key, issuer, issuer_key, extensions):
            builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key())
            builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
            builder = builder.not_valid_after(now + datetime.timedelta(days=365))
            for extension in extensions:
                builder = builder.add_extension(extension, critical=False)
            signed = builder.sign(issuer_key, hashes.SHA256())
            return signed.public_bytes(serialization.Encoding.PEM).decode()

        ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "playground authority")])
        ca_key = ec.generate_private_key(ec.SECP256R1())
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self.ca_file.write_text(certificate(ca_name, ca_key, ca_name, ca_key, [constraints]))
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        server = certificate(name, key, ca_name, ca_key, [x509.SubjectAlternativeName([x509.DNSName("localhost")])])
        self.server_file.write_text(private.decode() + server)


class IdentityEndpoint:
    """The identity endpoint of Azure's containers. It issues tokens signed with a generated key (keys.json)."""

    def __init__(self, directory, port=0, lifetime=3600):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.keys_file = directory / "keys.json"
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        self.keys_file.write_text(json.dumps({"keys": [public | {"kid": "test", "use": "sig", "alg": "RS256"}]}))
        self.secret = uuid.uuid4().hex
        self.lifetime = lifetime
        self.issued = 0
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                parameters = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                is_allowed = self.headers.get("X-IDENTITY-HEADER") == endpoint.secret and "api-version" in parameters
                is_expired = parameters.get("client_id") == EXPIRED_CLIENT
                body = endpoint.issue(parameters["resource"], is_expired) if is_allowed else {"error": "forbidden"}
                status = 200 if is_allowed else 403
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/msi/token"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def issue(self, resource, is_expired):
        """Returns the response to a request for a token. An expired token is described as if it were still valid."""
        end = int(time.time()) + self.lifetime
        expiry = end - 2 * self.lifetime if is_expired else end
        claims = {"aud": resource, "iss": ISSUER, "sub": IDENTITY, "iat": expiry - self.lifetime, "exp": expiry}
        token = jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "test"})
        self.issued += not is_expired
        # Every number is a string, as in responses of the real endpoint.
        return {"access_token": token, "expires_on": str(end), "resource": resource, "token_type": "Bearer"}

    def settings(self):
        """Returns the environment of a container that has this identity."""
        return {"IDENTITY_ENDPOINT": self.url, "IDENTITY_HEADER": self.secret}


class Broker:
    """A broker with a directory for its data, its certificate and its log."""

    def __init__(self, directory, port=None, identity_port=0, token_lifetime=3600, node=1, is_optimized=False, **properties):
        self.directory = pathlib.Path(directory).resolve()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.node = node
        self.is_optimized = is_optimized
        self.ports = {name: port + place if port else free_port() for place, name in enumerate(LISTENERS)}
        self.voters = {self.node: self.ports["CONTROLLER"]}
        self.properties = properties
        self.connection_string = CONNECTION_STRING
        self.authority = Authority(self.directory)
        self.identity = IdentityEndpoint(self.directory, identity_port, token_lifetime)
        self.address = f"localhost:{self.ports['PLAINTEXT']}"
        self.process = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        self.kill()

    def configuration(self):
        """Returns the broker's properties."""
        addresses = {name: f"{name}://localhost:{port}" for name, port in self.ports.items()}
        plain = f'{SASL}.plain.PlainLoginModule required user_$ConnectionString="{self.connection_string}";'
        properties = {
            "process.roles": "broker,controller",
            "node.id": self.node,
            "controller.quorum.voters": ",".join(f"{node}@localhost:{port}" for node, port in self.voters.items()),
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join(addresses.values()),
            "advertised.listeners": ",".join(value for name, value in addresses.items() if name != "CONTROLLER"),
            "listener.security.protocol.map": ",".join(
                f"{name}:{'PLAINTEXT' if name == 'CONTROLLER' else name}" for name in LISTENERS
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.directory / "data",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": min(3, len(self.voters)),
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # Clients that do not sign in may do anything; those that sign in only what the lists allow.
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.authority.server_file,
            "listener.name.sasl_plaintext.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": plain,
            "listener.name.sasl_ssl.sasl.enabled.mechanisms": "PLAIN,OAUTHBEARER",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": plain,
        }
        token = {
            "sasl.jaas.config": f"{SASL}.oauthbearer.OAuthBearerLoginModule required;",
            "sasl.server.callback.handler.class": f"{SASL}.oauthbearer.OAuthBearerValidatorCallbackHandler",
            "sasl.oauthbearer.jwks.endpoint.url": self.identity.keys_file.as_uri(),
            "sasl.oauthbearer.expected.audience": f"https://{NAMESPACE}.servicebus.windows.net",
            "sasl.oauthbearer.expected.issuer": ISSUER,
            # With this limit, a session ends with its token, as in Event Hubs, unless the client signs in again.
            "connections.max.reauth.ms": 3_600_000,
        }
        properties |= {f"listener.name.sasl_ssl.oauthbearer.{name}": value for name, value in token.items()}
        return properties | self.properties

    def java(self, *arguments, **options):
        """Starts one of Kafka's Java classes."""
        command = [
            "java",
            "-Xms256m",
            "-Xmx768m",
            # This starts faster on a busy machine; only measurements need the fully optimizing compiler.
            *([] if self.is_optimized else ["-XX:TieredStopAtLevel=1"]),
            "-XX:+UseSerialGC",
            f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.identity.keys_file.as_uri()}",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp",
            f"{os.environ['KAFKA_JARS']}/*",
        ]
        with open(self.directory / "broker.log", "ab") as log:
            return subprocess.Popen([*command, *map(str, arguments)], stdout=log, stderr=log, **options)

    def start(self):
        """Starts the broker with the data it has, and waits until it answers."""
        self.launch()
        self.wait_until_ready()

    def format(self):
        """Writes the properties, and creates and formats the data directory if it does not exist."""
        file = self.directory / "server.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in self.configuration().items()))
        if not (self.directory / "data" / "meta.properties").exists():
            cluster_id = base64.urlsafe_b64encode(uuid.uuid5(uuid.NAMESPACE_DNS, "playground").bytes).decode().rstrip("=")
            formatted = self.java("kafka.tools.StorageTool", "format", "--cluster-id", cluster_id, "--config", file)
            assert formatted.wait() == 0, self.log()
        return file

    def launch(self):
        """Starts the process."""
        self.process = self.java("kafka.Kafka", self.format())

    def wait_until_ready(self, brokers=1):
        """Waits until this broker answers and knows this many brokers."""
        # The limit is generous, since the machine may be busy.
        deadline = time.monotonic() + 180
        while True:
            assert self.process.poll() is None, self.log()
            try:
                socket.create_connection(("localhost", self.ports["PLAINTEXT"]), timeout=1).close()
                if len(self.admin().list_topics(timeout=2).brokers) >= brokers:
                    return
            except (OSError, KafkaException):
                pass
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def log(self):
        """Returns the last lines of the broker's log."""
        return "\n".join((self.directory / "broker.log").read_text("utf-8", "replace").splitlines()[-50:])

    def kill(self):
        """Kills the process, as `kill -9` does."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def send_signal(self, number):
        self.process.send_signal(number)

    def admin(self):
        """Returns an administration client. Keep a reference to it, since its results do not keep it alive."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def replace_topics(self, topics=TOPICS, replicas=1, partitions=PARTITIONS, **settings):
        """Replaces all topics by these empty ones with these settings. Clients that sign in may only send to them."""
        admin = self.admin()
        config = {name.replace("_", "."): str(value) for name, value in ({"retention_ms": -1} | settings).items()}
        deadline = time.monotonic() + 60
        while True:
            # Topics that were created a moment ago may be missing in the list.
            listed = {name for name in admin.list_topics(timeout=10).topics if not name.startswith("__")}
            for result in admin.delete_topics(sorted(listed | set(TOPICS))).values():
                succeeded(result, KafkaError.UNKNOWN_TOPIC_OR_PART)
            new = [NewTopic(topic, partitions, replicas, config=config) for topic in topics]
            created = [
                succeeded(result, KafkaError.TOPIC_ALREADY_EXISTS) for result in admin.create_topics(new).values()
            ]
            if all(created):
                break
            assert time.monotonic() < deadline, "the topics cannot be created"
            time.sleep(0.2)
        everything = AclBindingFilter(
            ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
        )
        for result in admin.delete_acls([everything]).values():
            result.result()
        for topic in topics:
            self.allow(ResourceType.TOPIC, topic, AclOperation.WRITE)

    def set_topic(self, topic, **settings):
        """Changes settings of a topic."""
        entries = [
            ConfigEntry(name.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET)
            for name, value in settings.items()
        ]
        admin = self.admin()
        for result in admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)]).values():
            result.result()

    def acls(self, kind, name, operation):
        return [
            AclBinding(kind, name, ResourcePatternType.LITERAL, principal, "*", operation, AclPermissionType.ALLOW)
            for principal in PRINCIPALS
        ]

    def allow(self, kind, name, operation):
        """Allows clients that sign in to perform this operation."""
        admin = self.admin()
        for result in admin.create_acls(self.acls(kind, name, operation)).values():
            result.result()

    def forbid(self, kind, name, operation):
        """Revokes what `allow` has granted."""
        filters = [
            AclBindingFilter(acl.restype, acl.name, acl.resource_pattern_type, acl.principal, acl.host, operation, acl.permission_type)
            for acl in self.acls(kind, name, operation)
        ]
        admin = self.admin()
        for result in admin.delete_acls(filters).values():
            result.result()

    def settings(self, protocol="PLAINTEXT", sign_in="connection string"):
        """Returns the environment with which stream-pageviews uses this broker."""
        settings = {"KAFKA_BOOTSTRAP_SERVERS": f"localhost:{self.ports[protocol]}"}
        if protocol != "PLAINTEXT":
            settings["KAFKA_SECURITY_PROTOCOL"] = protocol
        if protocol.endswith("SSL"):
            settings["KAFKA_CA_FILE"] = str(self.authority.ca_file)
        if protocol.startswith("SASL"):
            if sign_in == "token":
                settings |= {"EVENTHUB_NAMESPACE": NAMESPACE} | self.identity.settings()
            else:
                settings |= {f"EVENTHUB_CONNECTION_STRING_{topic.upper()}": CONNECTION_STRING for topic in TOPICS}
        return settings


@contextlib.contextmanager
def cluster(directory, count=3, **properties):
    """Runs brokers that keep replicas of each other's topics."""
    brokers = [Broker(directory / f"broker{node}", node=node, **properties) for node in range(1, count + 1)]
    voters = {broker.node: broker.ports["CONTROLLER"] for broker in brokers}
    try:
        for broker in brokers:
            broker.voters = voters
            broker.format()
        # All brokers are started at the same time, because each of them waits for a majority.
        for broker in brokers:
            broker.launch()
        for broker in brokers:
            broker.wait_until_ready(count)
        yield brokers
    finally:
        for broker in brokers:
            broker.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", default="target/kafka", help="directory for the data (default: %(default)s)")
    parser.add_argument("--port", type=int, default=9092, help="port without TLS; the next five are used too (default: %(default)s)")
    arguments = parser.parse_args()
    broker = Broker(arguments.dir, arguments.port, arguments.port + len(LISTENERS))
    broker.start()
    try:
        if not set(TOPICS) <= set(broker.admin().list_topics(timeout=10).topics):
            broker.replace_topics()
        print(f"Kafka with the topics {' and '.join(TOPICS)}, which keep messages forever; data and log in {broker.directory}.")
        for title, settings in (
            ("Without TLS and sign-in, with all permissions:", broker.settings()),
            ("As Event Hubs with connection strings, which may only send:", broker.settings("SASL_SSL")),
            ("As Event Hubs with Microsoft Entra ID:", broker.settings("SASL_SSL", "token")),
            ("As the Event Hubs emulator:", broker.settings("SASL_PLAINTEXT")),
        ):
            print(f"\n{title}")
            for name, value in settings.items():
                print(f"  export {name}={shlex.quote(value)}")
        print("\nCtrl-C stops it.", flush=True)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        broker.process.wait()
        raise SystemExit(f"the broker has stopped:\n{broker.log()}")
    except KeyboardInterrupt:
        broker.stop()


if __name__ == "__main__":
    main()
