"""A hub of a hundred lines, to test the fault tests: it keeps the promise, or breaks it as FAKE_DEFECT says.

early-ack: acknowledges before it writes. double: runs the last events again under new ids after a start.
orphan: its child outlives it. slow: no defect, but a backlog.
"""
import base64, hashlib, json, os, secrets, subprocess, sys, threading, time, zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse

ARGS = dict(zip(sys.argv[2::2], sys.argv[3::2]))
DATA, DEFECT = ARGS["--data"], os.environ.get("FAKE_DEFECT", "")
LOCK = threading.RLock()


def sync_dir():
    fd = os.open(DATA, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def write_all(path, text, mode=0o644):
    fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    os.write(fd, text.encode())
    os.fsync(fd)
    os.close(fd)
    os.rename(path + ".new", path)
    sync_dir()


class Log:
    """Lines of JSON with a checksum; a torn tail is cut off."""

    def __init__(self, name):
        self.fd = os.open(os.path.join(DATA, name), os.O_RDWR | os.O_CREAT, 0o644)
        self.items, self.end = [], 0
        for line in os.read(self.fd, os.fstat(self.fd).st_size).split(b"\n")[:-1]:
            crc, _, body = line.partition(b" ")
            if crc != b"%08x" % zlib.crc32(body):
                break
            self.items.append(json.loads(body))
            self.end += len(line) + 1
        os.ftruncate(self.fd, self.end)
        os.fdatasync(self.fd)
        sync_dir()

    def append(self, item):
        with LOCK:
            body = json.dumps(item).encode()
            line = b"%08x %s\n" % (zlib.crc32(body), body)
            os.pwrite(self.fd, line, self.end)
            self.end += len(line)
            os.fdatasync(self.fd)
            self.items.append(item)


def entities():
    try:
        with open(os.path.join(DATA, "entities")) as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def run(event, rule, activation):
    action = ENTITIES["actions/" + rule["action"].rsplit("/", 1)[1]]
    salt = action["parameters"][0]["value"]
    digest = hashlib.sha256((event["payload"] + salt).encode()).hexdigest()
    result = {"hash": digest, "pid": os.getpid(), "id": event["id"]}
    RECORDS.append({"activationId": activation, "name": rule["action"].rsplit("/", 1)[1], "response": {"result": result}})


def derive(event, rule):
    return hashlib.sha256((event["id"] + rule["action"]).encode()).hexdigest()[:32]


def dispatch():
    done, at = {item["activationId"] for item in RECORDS.items}, 0
    again = EVENTS.items[-5:] if DEFECT == "double" else []
    for event in again:
        for rule in rules():
            run(event, rule, secrets.token_hex(16))
    while True:
        while at < len(EVENTS.items):
            event, at = EVENTS.items[at], at + 1
            time.sleep(0.02 if DEFECT == "slow" else 0)
            for rule in rules():
                if derive(event, rule) not in done:
                    run(event, rule, derive(event, rule))
        time.sleep(0.005)


def rules():
    return [entity for name, entity in ENTITIES.items() if name.startswith("rules/")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")

    def refused(self):
        if self.headers.get("Authorization") == "Basic " + base64.b64encode(KEY.encode()).decode():
            return False
        self.answer(401, {})
        return True

    def do_PUT(self):
        body = self.body()
        if self.refused():
            return
        with LOCK:
            ENTITIES["/".join(urlparse(self.path).path.split("/")[-2:])] = body
            write_all(os.path.join(DATA, "entities"), json.dumps(ENTITIES))
        self.answer(200, body)

    def do_POST(self):
        event = {"id": self.headers["ce-id"], "payload": self.body()["payload"]}
        if self.refused():
            return
        if not rules():
            return self.answer(204, {})
        with LOCK:
            if event["id"] not in {other["id"] for other in EVENTS.items}:
                if DEFECT == "early-ack":
                    threading.Timer(0.3, EVENTS.append, [event]).start()
                else:
                    EVENTS.append(event)
        self.answer(202, {"activationId": secrets.token_hex(16)})

    def do_GET(self):
        url = urlparse(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/readyz":
            return self.answer(200, {})
        if self.refused():
            return
        items = [item for item in list(RECORDS.items) if item["name"] == query.get("name")]
        if "count" in query:
            return self.answer(200, {"activations": len(items)})
        skip = int(query["skip"])
        self.answer(200, items[skip : skip + int(query["limit"])])


if not os.path.exists(os.path.join(DATA, "credentials")):
    write_all(os.path.join(DATA, "credentials"), "user:" + secrets.token_hex(32), 0o600)
with open(os.path.join(DATA, "credentials")) as file:
    KEY = file.read()
ENTITIES, EVENTS, RECORDS = entities(), Log("events"), Log("records")
CHILD = subprocess.Popen(["sleep", "30"] if DEFECT == "orphan" else ["cat"], stdin=subprocess.PIPE)
threading.Thread(target=dispatch, daemon=True).start()
HOST, PORT = ARGS["--listen"].split(":")
ThreadingHTTPServer.request_queue_size = 128
SERVER = ThreadingHTTPServer((HOST, int(PORT)), Handler)
import signal

signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=SERVER.shutdown).start())
SERVER.serve_forever()
