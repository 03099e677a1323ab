// Runs one Node.js action inside its sandbox: initialised once, then called many times.
//
// Both directions of file descriptor 3 carry frames: four bytes of length and four of a call's
// number, big endian, then JSON. An answer has the number of its call.
//   hub → {"init":{name, main, binary, env, perRun}}, then a frame that is the code's own bytes
//                                                            ← {"ok":true} | {"error":…}
//   hub → {"run":{value, env}}                               ← {"result":…} | {"error":…}
// The first frame of all is ours, of number 0: {"ok":true}, once the interpreter stands.
// Texts and corner cases follow Apache OpenWhisk's Node.js runtime, which actions rely on.
// No 'use strict' at the top: an action's code must not inherit it.

const fs = require('node:fs');
const path = require('node:path');
// An action may replace these for itself.
const { parse, stringify } = JSON;
const { nextTick } = process;

const CHANNEL = 3;
const HEADER = 8;
const SCRATCH = Buffer.allocUnsafeSlow(64 * 1024);
const LARGEST_IN_SCRATCH = Math.floor((SCRATCH.length - HEADER) / 3);
const MAX_UNPACKED = 512 * 1024 * 1024;

// Each run has its own environment. The real one keeps every value it ever had (glibc's `setenv`
// frees none), so that a sandbox would grow with its runs: this one is an ordinary object, which
// holds text as the real one does. Child processes and workers are started from it all the same.
const realEnvironment = process.env;
const environment = { ...realEnvironment };
process.env = new Proxy(environment, {
  set(target, name, value) {
    target[name] = String(value);
    // Node.js looks at the real one for the time zone.
    if (name === 'TZ') realEnvironment.TZ = value;
    return true;
  },
});

let handler;
let perRun = {};
let call = 0;
let awaitsCode = null;
for (const output of [process.stdout, process.stderr]) {
  // What was printed is in the pipe before the answer is sent.
  if (output._handle && output._handle.setBlocking) output._handle.setBlocking(true);
}
const socket = new (require('node:net').Socket)({
  fd: CHANNEL,
  readable: true,
  writable: true,
  onread: { buffer: Buffer.allocUnsafeSlow(64 * 1024), callback: onBytes },
});
socket.on('end', () => process.exit(0));
socket.on('error', () => process.exit(0));
socket.resume();
send('{"ok":true}');

// === frames ===

let pending = null;
let filled = 0;

function onBytes(count, buffer) {
  if (pending === null && count >= HEADER) {
    const length = buffer.readUInt32BE(0);
    if (count === HEADER + length) {
      onFrame(buffer, count);
      return true;
    }
  }
  collect(buffer.subarray(0, count));
  return true;
}

// The slow way: a frame in several pieces. `pending` holds the header first, then all of it.
function collect(bytes) {
  while (bytes.length > 0) {
    if (pending === null) {
      pending = Buffer.allocUnsafeSlow(HEADER);
      filled = 0;
    }
    const taken = bytes.copy(pending, filled);
    filled += taken;
    bytes = bytes.subarray(taken);
    if (filled < pending.length) return;
    if (filled === HEADER && pending.length === HEADER) {
      const whole = Buffer.allocUnsafeSlow(HEADER + pending.readUInt32BE(0));
      pending.copy(whole);
      pending = whole;
      if (whole.length > HEADER) continue;
    }
    const frame = pending;
    pending = null;
    onFrame(frame, frame.length);
  }
}

function send(text) {
  if (text.length <= LARGEST_IN_SCRATCH) {
    const length = SCRATCH.write(text, HEADER, 'utf8');
    SCRATCH.writeUInt32BE(length, 0);
    SCRATCH.writeUInt32BE(call, 4);
    write(SCRATCH, HEADER + length);
  } else {
    const length = Buffer.byteLength(text, 'utf8');
    const frame = Buffer.allocUnsafe(HEADER + length);
    frame.writeUInt32BE(length, 0);
    frame.writeUInt32BE(call, 4);
    frame.write(text, HEADER, 'utf8');
    write(frame, frame.length);
  }
}

function write(buffer, length) {
  let written = 0;
  try {
    written = fs.writeSync(CHANNEL, buffer, 0, length);
  } catch (error) {
    if (error.code !== 'EAGAIN') throw error;
  }
  if (written < length) socket.write(Buffer.from(buffer.subarray(written, length)));
}

function onFrame(buffer, end) {
  call = buffer.readUInt32BE(4);
  if (awaitsCode !== null) {
    const message = awaitsCode;
    awaitsCode = null;
    init(message, Buffer.from(buffer.subarray(HEADER, end)));
    return;
  }
  const message = parse(buffer.toString('utf8', HEADER, end));
  if (message.run !== undefined) run(message.run);
  else if (message.init !== undefined) awaitsCode = message.init;
  else fail('Bad request.');
}

function fail(error) {
  send(stringify({ error }));
}

// === running ===

function run(message) {
  if (handler === undefined) return fail('System not initialized.');
  setEnvironment(message.env);
  let value;
  try {
    value = handler(message.value);
  } catch (error) {
    console.error(error);
    return nextTick(fail, `An error has occurred: ${error}`);
  }
  Promise.resolve(value).then(settled, rejected);
}

// A tick after the promise: what the action's own promises print belongs to this activation.
function settled(value) {
  nextTick(finish, value);
}

function rejected(error) {
  nextTick(finish, { error: error ? serialize(error, []) : {} });
}

function finish(value) {
  if (value === undefined) value = {};
  if (typeof value !== 'object') {
    console.error(`Result must be of type object but has type "${typeof value}":`, value);
    return fail('The action did not return a dictionary.');
  }
  let json;
  try {
    json = stringify(value);
  } catch (error) {
    console.error(error);
    return fail(`An error has occurred: ${error}`);
  }
  if (json === undefined) return fail('The action did not return a dictionary.');
  send('{"result":' + json + '}');
}

function setEnvironment(env) {
  for (const name in perRun) if (!(name in env)) delete environment[name];
  for (const name in env) environment[name] = env[name];
  perRun = env;
}

// What `serialize-error` makes of an error: own members, and the three that are not enumerable.
function serialize(value, seen) {
  if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`;
  if (typeof value !== 'object' || value === null) return value;
  if (Buffer.isBuffer(value)) return '[object Buffer]';
  if (typeof value.toJSON === 'function') return value.toJSON();
  const inside = [...seen, value];
  const plain = Array.isArray(value) ? [] : {};
  for (const [key, member] of Object.entries(value)) {
    if (typeof member === 'function') continue;
    plain[key] = inside.includes(member) ? '[Circular]' : serialize(member, inside);
  }
  for (const key of ['name', 'message', 'stack', 'code']) {
    if (typeof value[key] === 'string') plain[key] = value[key];
  }
  return plain;
}

// === initialising ===

function init(message, code) {
  if (handler !== undefined) return fail('Cannot initialize the action more than once.');
  if (!message.main || code.length === 0) return fail('Missing main/no code to execute.');
  perRun = message.perRun;
  try {
    Object.assign(process.env, message.env, perRun);
    const found = (message.binary ? loadArchive : loadText)(code, message.main);
    if (typeof found !== 'function') {
      throw `Action entrypoint '${message.main}' is not a function.`;
    }
    handler = found;
  } catch (error) {
    console.error('Error during initialization:', error);
    return fail(`Initialization has failed due to: ${error && error.stack ? error.stack : error}`);
  }
  send('{"ok":true}');
}

function loadText(code, main) {
  const vm = require('node:vm');
  const filename = path.join(process.cwd(), 'action.js');
  const wrapped = `(function (require, module, exports, __filename, __dirname) {${code.toString('utf8')}
    try {
      return ${main};
    } catch (e) {
      if (e.name === 'ReferenceError') return module.exports.${main} || exports.${main};
      throw e;
    }
  })`;
  const dynamic = vm.constants && vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER;
  const wrap = vm.runInThisContext(wrapped, { filename, importModuleDynamically: dynamic });
  const module = { exports: {}, filename, id: '.', loaded: false };
  const require_ = require('node:module').createRequire(filename);
  return wrap(require_, module, module.exports, filename, path.dirname(filename));
}

function loadArchive(code, main) {
  const folder = fs.mkdtempSync(path.join(process.cwd(), 'action-'));
  try {
    unpack(code, folder);
  } catch (error) {
    console.error(error);
    throw 'There was an error uncompressing the action archive.';
  }
  const parts = main.match(/^(?:([^.]+)\.)?(.+)$/);
  if (parts === null) throw 'Name of main function is not valid.';
  process.chdir(folder);
  if (parts[1] === undefined && !fs.existsSync('package.json') && !fs.existsSync('index.js')) {
    throw 'Zipped actions must contain either package.json or index.js at the root.';
  }
  const require_ = require('node:module').createRequire(path.join(folder, 'index.js'));
  const exported = require_(parts[1] === undefined ? folder : path.join(folder, parts[1]));
  return parts[2].split('.').reduce((value, name) => value && value[name], exported);
}

// === archives ===
// Read here, not in the hub: a hostile archive meets the sandbox's bounds and no one else's.

function unpack(bytes, folder) {
  const magic = bytes.length >= 4 ? bytes.readUInt32BE(0) : 0;
  const left = { bytes: MAX_UNPACKED };
  if (magic === 0x504b0304) unzip(bytes, folder, left);
  else if (magic >>> 16 === 0x1f8b) untar(require('node:zlib').gunzipSync(bytes, bound(left)), folder);
  else throw new Error('neither a zip nor a tar.gz archive');
}

function bound(left) {
  return { maxOutputLength: Math.max(left.bytes, 1) };
}

function place(folder, name, mode, content) {
  const target = path.resolve(folder, name);
  if (target !== folder && !target.startsWith(folder + path.sep)) {
    throw new Error(`'${name}' leaves the archive's folder`);
  }
  if (content === null) return fs.mkdirSync(target, { recursive: true });
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.writeFileSync(target, content, { mode: (mode & 0o777) | 0o600, flag: 'w' });
}

const ZIP_END = 0x06054b50;
const ZIP_ENTRY = 0x02014b50;
const UNIX_LINK = 0o120000;
const UNIX_TYPE = 0o170000;

function unzip(bytes, folder, left) {
  const zlib = require('node:zlib');
  let end = bytes.length - 22;
  while (end >= 0 && bytes.readUInt32LE(end) !== ZIP_END) end--;
  if (end < 0) throw new Error('the zip archive has no directory');
  let at = bytes.readUInt32LE(end + 16);
  for (let count = bytes.readUInt16LE(end + 10); count > 0; count--) {
    if (bytes.readUInt32LE(at) !== ZIP_ENTRY) throw new Error('the zip directory is damaged');
    const method = bytes.readUInt16LE(at + 10);
    const packed = bytes.readUInt32LE(at + 20);
    const nameLength = bytes.readUInt16LE(at + 28);
    const mode = bytes.readUInt32LE(at + 38) >>> 16;
    const local = bytes.readUInt32LE(at + 42);
    const name = bytes.toString('utf8', at + 46, at + 46 + nameLength);
    at += 46 + nameLength + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
    if (name.endsWith('/')) {
      place(folder, name, mode, null);
      continue;
    }
    const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    const raw = bytes.subarray(start, start + packed);
    if (method !== 0 && method !== 8) throw new Error(`'${name}' is packed by method ${method}`);
    const content = method === 8 ? zlib.inflateRawSync(raw, bound(left)) : raw;
    left.bytes -= content.length;
    if (left.bytes < 0) throw new Error('the archive is too large');
    if ((mode & UNIX_TYPE) === UNIX_LINK) link(folder, name, content.toString('utf8'));
    else place(folder, name, mode || 0o644, content);
  }
}

function untar(bytes, folder) {
  let longName = null;
  for (let at = 0; at + 512 <= bytes.length; ) {
    const field = (from, to) => bytes.toString('utf8', at + from, at + to).replace(/\0.*$/s, '');
    if (bytes[at] === 0) break;
    const size = parseInt(field(124, 136).trim(), 8) || 0;
    const type = String.fromCharCode(bytes[at + 156]);
    const prefix = field(257, 262) === 'ustar' ? field(345, 500) : '';
    const name = longName || (prefix ? `${prefix}/${field(0, 100)}` : field(0, 100));
    const content = bytes.subarray(at + 512, at + 512 + size);
    if (content.length < size) throw new Error('the tar archive ends early');
    at += 512 + Math.ceil(size / 512) * 512;
    longName = null;
    if (type === 'L') longName = content.toString('utf8').replace(/\0.*$/s, '');
    else if (type === 'x') longName = paxPath(content.toString('utf8'));
    else if (type === '5') place(folder, name, 0o755, null);
    else if (type === '2') link(folder, name, field(157, 257));
    else if (type === '0' || type === '\0') place(folder, name, parseInt(field(100, 108), 8) || 0o644, content);
  }
}

function paxPath(records) {
  const found = records.match(/^\d+ path=(.*)$/m);
  return found ? found[1] : null;
}

function link(folder, name, to) {
  const target = path.resolve(folder, name);
  const end = path.resolve(path.dirname(target), to);
  if (!target.startsWith(folder + path.sep) || !end.startsWith(folder + path.sep)) {
    throw new Error(`the link '${name}' leaves the archive's folder`);
  }
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.symlinkSync(to, target);
}
