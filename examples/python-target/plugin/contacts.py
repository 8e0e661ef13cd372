"""The target type contacts: brings the contacts of an HTTP API to what consentd's records say."""

import datetime
import email.utils
import http.client
import json
import socket
import ssl
import time
import urllib.parse

import target_pb2 as wire

TYPE = "contacts"
VERSION = "1.0.0"
MAX_BATCH = 20
MAX_IN_FLIGHT = 4

# How many seconds before its deadline a Deliver or Erase has to end (sdk/targetpb/README.md, Deliver), and the others.
GRACE = 5
MARGIN = 0.5

Outcome = wire.Outcome


class NotConfigured(Exception):
    pass


class Target:
    def __init__(self):
        self.url = None

    def describe(self, request, context):
        return wire.DescribeResponse(
            type=TYPE,
            version=VERSION,
            doc="Contacts of an HTTP API that takes JSON merge patches (RFC 7396).",
            config=wire.Schema(
                attributes=[
                    wire.Attribute(name="url", type="string", required=True, doc="Where the API is."),
                    wire.Attribute(name="token", type="string", required=True, sensitive=True, doc="The bearer token."),
                ]
            ),
            record=wire.Schema(
                attributes=[
                    wire.Attribute(name="id", type="string", required=True, doc="Whom it is about."),
                    wire.Attribute(name="email", type="string", doc="The address."),
                    wire.Attribute(name="subscribed", type="bool", required=True, doc="Whether mail may be sent."),
                    wire.Attribute(name="attributes", type="map(string)", doc="Anything else; null clears."),
                ]
            ),
            limits=wire.Limits(max_batch=MAX_BATCH, max_in_flight=MAX_IN_FLIGHT),
        )

    def configure(self, request, context):
        config = json.loads(request.config)
        wrong = []
        try:
            url = urllib.parse.urlsplit(config["url"])
            if url.scheme not in ("http", "https") or not url.hostname or url.port == 0 or url.query or url.fragment:
                raise ValueError
        except ValueError:
            wrong.append(
                wire.Diagnostic(
                    path=["url"], summary="Not a URL", detail="Write http:// or https://, the host, and a path if any."
                )
            )
        token = config["token"]
        if not token or not token.isascii() or not token.isprintable():
            wrong.append(
                wire.Diagnostic(
                    path=["token"], summary="Not a token", detail="A token is printable ASCII, and not empty."
                )
            )
        if wrong:
            return wire.ConfigureResponse(diagnostics=wrong)
        self.url, self.token = url, token
        return wire.ConfigureResponse(capabilities=wire.Capabilities(check=True, read=True, erase=True))

    def check(self, request, context):
        with self.call(context, MARGIN) as api:
            outcome, _ = api.ask("GET", "/contacts?limit=1")
            return wire.CheckResponse(outcome=outcome)

    def deliver(self, request, context):
        def one(api, record, fields):
            patch = {name: value for name, value in fields.items() if name != "id"}
            outcome, _ = api.ask("PATCH", contact(fields), patch)
            return outcome

        return wire.DeliverResponse(outcomes=self.each(request.records, context, one, GRACE, request.not_after))

    def erase(self, request, context):
        def one(api, record, fields):
            outcome, _ = api.ask("DELETE", contact(fields))
            if outcome.code == "HTTP_404":
                return Outcome(kind=Outcome.DELIVERED)
            return outcome

        return wire.EraseResponse(outcomes=self.each(request.records, context, one, GRACE, request.not_after))

    def read(self, request, context):
        found = {}

        def one(api, record, fields):
            outcome, answer = api.ask("GET", contact(fields))
            if outcome.code == "HTTP_404":
                return Outcome(kind=Outcome.DELIVERED)
            if outcome.kind == Outcome.DELIVERED:
                known = {name: answer[name] for name in ("email", "subscribed", "attributes") if name in answer}
                found[record.id] = json.dumps({"id": fields["id"], **known}).encode()
            return outcome

        outcomes = self.each(request.records, context, one, MARGIN)
        return wire.ReadResponse(
            readings=[wire.Reading(outcome=o, found=o.id in found, fields=found.get(o.id, b"")) for o in outcomes]
        )

    def each(self, records, context, one, margin, not_after=0):
        """One outcome a record. What the time does not suffice for is tried again later."""
        outcomes = []
        with self.call(context, margin, not_after) as api:
            for record in records:
                fields = json.loads(record.fields)
                if fields["id"] in ("", ".", ".."):  # no path leads to these
                    outcome = Outcome(kind=Outcome.REJECTED, code="INVALID_ID", message="the id cannot be part of a URL")
                else:
                    outcome = one(api, record, fields)
                outcome.id = record.id
                outcome.individual = True  # each record has a call of its own
                outcomes.append(outcome)
        return outcomes

    def call(self, context, margin, not_after=0):
        if self.url is None:
            raise NotConfigured
        left = context.time_remaining()
        left = 30 if left is None else left - margin
        if not_after:
            left = min(left, not_after / 1e9 - time.time())
        return API(self.url, self.token, context, time.monotonic() + left)


def contact(fields):
    return "/contacts/" + urllib.parse.quote(fields["id"], safe="")


class API:
    """The vendor, for as long as one call of consentd lasts. It tries once and follows no redirect."""

    def __init__(self, url, token, context, until):
        self.prefix, self.token, self.until = url.path.rstrip("/"), token, until
        self.active = context.is_active
        if url.scheme == "https":
            self.connection = http.client.HTTPSConnection(url.hostname, url.port, context=ssl.create_default_context())
        else:
            self.connection = http.client.HTTPConnection(url.hostname, url.port)
        context.add_callback(self.stop)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def stop(self):
        """Ends what is under way. gRPC calls it when the call was cancelled, and after its end."""
        sock = self.connection.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed already

    def ask(self, method, path, body=None):
        """Makes one request, and says what became of it and what the vendor answered."""
        left = self.until - time.monotonic()
        if left <= 0 or not self.active():
            return Outcome(kind=Outcome.RETRY, code="TIMEOUT", message="there was no time for it"), None
        headers = {"Authorization": "Bearer " + self.token, "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
            body = json.dumps(body).encode()
        self.connection.timeout = left
        if self.connection.sock is not None:
            self.connection.sock.settimeout(left)
        try:
            self.connection.request(method, self.prefix + path, body, headers)
            response = self.connection.getresponse()
            text = response.read(1 << 20)
        except (OSError, http.client.HTTPException):
            self.connection.close()
            return Outcome(kind=Outcome.RETRY, code="NETWORK", message="the API did not answer"), None
        if response.read(1):
            self.connection.close()  # more than it ought to say
        outcome = judge(response)
        if outcome.kind != Outcome.DELIVERED or method != "GET":
            return outcome, None
        try:
            answer = json.loads(text)
        except ValueError:
            answer = None
        if not isinstance(answer, (dict, list)):
            return Outcome(kind=Outcome.RETRY, code="NO_JSON", message="the API did not answer with JSON"), None
        return outcome, answer


def judge(response):
    """What a status means. The vendor's own text may name the person, so it stays here."""
    status = response.status
    if 200 <= status < 300:
        return Outcome(kind=Outcome.DELIVERED, reference=response.getheader("X-Request-Id", ""))
    after = retry_after(response.getheader("Retry-After", ""))
    outcome = Outcome(kind=Outcome.REJECTED, code=f"HTTP_{status}", message=f"the API answered {status}")
    if status == 429 or status == 503 and after is not None:
        outcome.kind = Outcome.THROTTLED
        if after is not None:
            outcome.retry_after.FromTimedelta(after)
    elif status in (401, 403, 407) or 300 <= status < 400:
        outcome.kind = Outcome.UNAUTHORIZED
    elif status in (408, 409, 423, 425) or status >= 500:
        outcome.kind = Outcome.RETRY
    return outcome


def retry_after(text):
    """How long the vendor asks to wait, in seconds or until a date (RFC 9110, 10.2.3)."""
    try:
        if text.isascii() and text.isdigit():
            return datetime.timedelta(seconds=min(int(text), 86400))
        now = datetime.datetime.now(datetime.timezone.utc)
        return max(email.utils.parsedate_to_datetime(text) - now, datetime.timedelta(0))
    except (TypeError, ValueError):
        return None
