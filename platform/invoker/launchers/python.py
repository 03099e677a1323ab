# Runs one Python action inside its sandbox: initialised once, then called many times.
#
# Both directions of file descriptor 3 carry frames: four bytes of length and four of a call's
# number, big endian, then JSON. An answer has the number of its call.
#   hub -> {"init":{name, main, binary, env, perRun}}, then a frame that is the code's own bytes
#                                                             <- {"ok":true} | {"error":...}
#   hub -> {"run":{value, env}}                               <- {"result":...} | {"error":...}
# The first frame of all is ours, of number 0: {"ok":true}, once the interpreter stands.
# Texts and corner cases follow Apache OpenWhisk's Python runtime, which actions rely on.
import json
import os
import sys

CHANNEL = 3
HEADER = 8
CHUNK = 64 * 1024
MAX_UNPACKED = 512 * 1024 * 1024

CANNOT_START = "Cannot start action. Check logs for details."
STARTS_A_PROGRAM = {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"}
NOT_JSON = "The action did not return a dictionary or array."

read, write, environ = os.read, os.write, os.environ
parse = json.loads
call = bytes(4)
# The environment of this run alone.
per_run = {}
# What was read of the frame after the last one.
early = b""
encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class CannotStart(Exception):
    """The action's own mistake, told in a sentence instead of a traceback."""


def receive():
    """The bytes of the next frame, or None when the hub is gone."""
    global call, early
    data, early = early or read(CHANNEL, CHUNK), b""
    while len(data) < HEADER:
        more = read(CHANNEL, CHUNK) if data else b""
        if not more:
            return None
        data += more
    length = int.from_bytes(data[:4], "big")
    call = data[4:HEADER]
    if len(data) == HEADER + length:
        return data[HEADER:]
    if len(data) > HEADER + length:
        early = data[HEADER + length :]
        return data[HEADER : HEADER + length]
    whole = bytearray(data[HEADER:])
    while len(whole) < length:
        more = read(CHANNEL, min(length - len(whole), 1 << 20))
        if not more:
            return None
        whole += more
    return whole


def send(text):
    try:
        body = text.encode("utf-8")
    except UnicodeEncodeError:
        body = json.dumps(json.loads(text), separators=(",", ":")).encode("ascii")
    data = len(body).to_bytes(4, "big") + call + body
    sent = write(CHANNEL, data)
    while sent < len(data):
        sent += write(CHANNEL, data[sent : sent + (1 << 20)])


def fail(message):
    flush()
    send(encode({"error": message}))


def flush():
    sys.stdout.flush()
    sys.stderr.flush()


# === running ===


def run(main, value):
    try:
        result = main(value)
        if hasattr(result, "__await__"):
            result = wait_for(result)
    except Exception as error:
        print_traceback()
        result = {"error": str(error)}
    if not isinstance(result, (dict, list, tuple)):
        print("Result must be of type dict but has type:", type(result).__name__, file=sys.stderr)
        return fail(NOT_JSON)
    try:
        text = encode(result)
    except Exception:
        print_traceback()
        return fail(NOT_JSON)
    flush()
    send('{"result":' + text + "}")


def wait_for(awaitable):
    import asyncio

    async def waiting():
        return await awaitable

    return asyncio.run(waiting())


def print_traceback():
    import traceback

    traceback.print_exc(file=sys.stderr)


def set_environment(before, now):
    """What differs from run to run goes past `putenv`: the C library frees no value that it ever
    had, so that a sandbox would grow with its runs. `export` makes up for it."""
    for name in before:
        if name not in now:
            environ.pop(name, None)
    for name, value in now.items():
        environ._data[environ.encodekey(name)] = environ.encodevalue(value)
    return now


def export(event, _arguments):
    """Other programs are started with the C library's environment."""
    if event in STARTS_A_PROGRAM:
        for name in per_run:
            if name in environ:
                os.putenv(name, environ[name])


# === initialising ===


def initialise(message, code):
    """Gives the action's main function."""
    import tempfile

    folder = tempfile.mkdtemp(prefix="action-", dir=os.getcwd())
    if message["binary"]:
        unpack(code, folder)
        source = next((name for name in ("exec", "__main__.py") if os.path.isfile(f"{folder}/{name}")), None)
    else:
        source = "__main__.py"
        with open(f"{folder}/{source}", "wb") as file:
            file.write(code)
    os.chdir(folder)
    sys.path.insert(0, folder)
    activate(f"{folder}/virtualenv")
    before, _, name = message["main"].rpartition(".")
    if before:
        import importlib

        module = importlib.import_module(before)
    elif source is None:
        raise CannotStart("Zip file does not include mandatory files.")
    else:
        module = load(f"{folder}/{source}")
    main = getattr(module, name, None)
    if not callable(main):
        raise CannotStart(f"cannot import name '{name}' from the action: not a function")
    return main


def load(path):
    import types

    module = types.ModuleType("main__")
    module.__file__ = path
    sys.modules["main__"] = module
    with open(path, "rb") as file:
        exec(compile(file.read(), path, "exec"), module.__dict__)
    return module


def activate(virtualenv):
    if not os.path.isdir(virtualenv):
        return
    script = f"{virtualenv}/bin/activate_this.py"
    if os.path.exists(script):
        with open(script, "rb") as file:
            exec(compile(file.read(), script, "exec"), {"__file__": script, "__name__": "__main__"})
        return
    import glob

    found = glob.glob(f"{virtualenv}/lib/python*/site-packages")
    if not found:
        raise CannotStart(
            "Invalid virtualenv. Zip file does not include /virtualenv/bin/activate_this.py"
        )
    sys.path[1:1] = found


def unpack(data, folder):
    """Read here, not in the hub: a hostile archive meets the sandbox's bounds and no one else's."""
    import io
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED:
                raise CannotStart("The action archive is too large.")
            for entry in archive.infolist():
                target = os.path.normpath(os.path.join(folder, entry.filename))
                if target != folder and not target.startswith(folder + os.sep):
                    raise CannotStart(f"'{entry.filename}' leaves the archive's folder.")
                archive.extract(entry, folder)
                mode = entry.external_attr >> 16 & 0o777
                if mode and not entry.is_dir():
                    os.chmod(target, mode | 0o600)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise CannotStart(f"There was an error uncompressing the action archive: {error}")


def start(message, code):
    try:
        environ.update(message["env"])
        environ.update(message["perRun"])
        if not code or not message["main"]:
            raise CannotStart("Missing main/no code to execute.")
        return initialise(message, code)
    except CannotStart as mistake:
        print(mistake, file=sys.stderr)
    except Exception:
        print_traceback()
    fail(CANNOT_START)


def serve():
    global per_run
    sys.addaudithook(export)
    os.set_inheritable(CHANNEL, False)
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.stderr.reconfigure(encoding="utf-8", errors="backslashreplace")
    send('{"ok":true}')
    main = None
    while (frame := receive()) is not None:
        message = parse(frame)
        if "run" in message:
            body = message["run"]
            per_run = set_environment(per_run, body["env"])
            if main is None:
                fail("System not initialized.")
            else:
                run(main, body["value"])
        elif main is not None:
            receive()
            fail("Cannot initialize the action more than once.")
        else:
            per_run = message["init"]["perRun"]
            main = start(message["init"], receive())
            if main is not None:
                flush()
                send('{"ok":true}')


serve()
