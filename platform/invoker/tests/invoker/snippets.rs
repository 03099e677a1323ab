//! The actions of the contract, in each language. A new runtime adds its own here.

/// One language's actions.
pub(crate) struct Snippets {
    /// The family they are for.
    pub(crate) family: &'static str,
    /// Gives its arguments back.
    pub(crate) echo: &'static str,
    /// Gives `{}` without saying so, where the language has that.
    pub(crate) nothing: &'static str,
    /// Gives an array.
    pub(crate) array: &'static str,
    /// Counts its own calls in `n`.
    pub(crate) counts: &'static str,
    /// Has an entry point `other`, too, that says so in `other`.
    pub(crate) other_main: &'static str,
    /// Gives every variable that begins with `__OW_` or is called `OWN`, as seen when loaded
    /// (`init`) and when called (`run`).
    pub(crate) environment: &'static str,
    /// Gives the `__OW_ACTIVATION_ID` that a program sees which it starts, in `id`.
    pub(crate) child_environment: &'static str,
    /// Prints `out`, `err` to stderr, and `é` without an end of line.
    pub(crate) prints: &'static str,
    /// Prints lines of 99 x until `lines` are out.
    pub(crate) floods: &'static str,
    /// Is asynchronous and gives `{"late": true}` after a moment.
    pub(crate) asynchronous: &'static str,
    /// Throws `boom`.
    pub(crate) throws: &'static str,
    /// Gives a string.
    pub(crate) string: &'static str,
    /// What the launcher says of that.
    pub(crate) no_object: &'static str,
    /// Gives `{"error": "bad", "more": 1}`.
    pub(crate) fails: &'static str,
    /// Cannot be parsed.
    pub(crate) broken: &'static str,
    /// Beginning of what is said of it.
    pub(crate) cannot_start: &'static str,
    /// Has no `main`.
    pub(crate) no_main: &'static str,
    /// Ends the process when called.
    pub(crate) exits: &'static str,
    /// Ends the process when loaded.
    pub(crate) exits_early: &'static str,
    /// Never returns, printing `begun` first.
    pub(crate) loops: &'static str,
    /// Cannot be loaded in any time.
    pub(crate) loops_early: &'static str,
    /// Takes memory without end.
    pub(crate) hogs: &'static str,
    /// Gives `{"x": "xxx…"}` of `size` x.
    pub(crate) large: &'static str,
    /// Writes files until it cannot, and gives `{"full": true}` then.
    pub(crate) fills_disk: &'static str,
    /// Starts processes without end.
    pub(crate) forks: &'static str,
    /// Writes `{"result":{}}` as an answer to `call`, then returns `{"own": true}`.
    pub(crate) forges: &'static str,
    /// Announces a frame of four gigabytes and never sends it.
    pub(crate) promises_too_much: &'static str,
    /// Name of the file in an archive that has `main`.
    pub(crate) archive_main: &'static str,
    /// Its content: gives `{"side": …}` of a second file, `side`.
    pub(crate) archive_code: &'static str,
    /// Name and content of that second file.
    pub(crate) archive_side: (&'static str, &'static str),
    /// The name of an entry point in that second file, which gives `{"func": true}`.
    pub(crate) archive_other: &'static str,
}

pub(crate) const SNIPPETS: &[Snippets] = &[
    Snippets {
        family: "nodejs",
        echo: "function main(a) { return a }",
        nothing: "function main() {}",
        array: "function main() { return [1, {a: 2}] }",
        counts: "let n = 0; function main() { return {n: ++n} }",
        other_main: "function main() {} function other() { return {other: true} }",
        environment: "const seen = () => Object.fromEntries(Object.entries(process.env)
                .filter(([k]) => k.startsWith('__OW_') || k === 'OWN'));
            const init = seen(); function main() { return {init, run: seen()} }",
        child_environment: "function main() {
            const id = require('child_process').execFileSync(
                process.execPath, ['-p', 'process.env.__OW_ACTIVATION_ID']);
            return {id: id.toString().trim()} }",
        prints: "function main(a) { console.log('out'); console.error('err'); process.stdout.write('é'); return {} }",
        floods: "function main(a) { for (let i = 0; i < a.lines; i++) console.log('x'.repeat(99)); return {} }",
        asynchronous: "async function main() { await new Promise(r => setTimeout(r, 5)); return {late: true} }",
        throws: "function main() { throw new Error('boom') }",
        string: "function main() { return 'text' }",
        no_object: "The action did not return a dictionary.",
        fails: "function main() { return {error: 'bad', more: 1} }",
        broken: "function main( {",
        cannot_start: "Initialization has failed due to: ",
        no_main: "function other() { return {} }",
        exits: "function main() { process.exit(3) }",
        exits_early: "process.exit(3); function main() {}",
        loops: "function main() { console.log('begun'); for (;;); }",
        loops_early: "for (;;); function main() {}",
        hogs: "const kept = []; function main() { for (;;) kept.push(Buffer.alloc(1 << 22, 1)) }",
        large: "function main(a) { return {x: 'x'.repeat(a.size)} }",
        fills_disk: "const fs = require('fs'); function main() {
            try { for (let i = 0; i < 1000; i++) fs.writeFileSync('/tmp/f' + i, Buffer.alloc(1 << 20)) }
            catch (e) { for (const f of fs.readdirSync('/tmp')) fs.rmSync('/tmp/' + f, {recursive: true}); return {full: e.code === 'ENOSPC'} }
            return {full: false} }",
        forks: "const {spawn} = require('child_process'); function main() {
            return new Promise(() => { const more = () => { try { spawn('/bin/sleep', ['1000']).on('error', () => {}) } catch {} setImmediate(more) }; more() }) }",
        forges: "function main(a) { const b = Buffer.from('________{\"result\":{}}'); b.writeUInt32BE(b.length - 8); b.writeUInt32BE(a.call, 4); require('fs').writeSync(3, b); return {own: true} }",
        promises_too_much: "function main() { require('fs').writeSync(3, Buffer.from([255, 255, 255, 255, 0, 0, 0, 2, 123])); return new Promise(() => {}) }",
        archive_main: "index.js",
        archive_code: "exports.main = () => ({side: require('./side.js').side})",
        archive_side: ("side.js", "exports.side = 'yes'; exports.func = () => ({func: true})"),
        archive_other: "side.func",
    },
    Snippets {
        family: "python",
        echo: "def main(a):\n  return a\n",
        nothing: "def main(a):\n  return {}\n",
        array: "def main(a):\n  return [1, {'a': 2}]\n",
        counts: "n = 0\ndef main(a):\n  global n\n  n += 1\n  return {'n': n}\n",
        other_main: "def main(a):\n  pass\ndef other(a):\n  return {'other': True}\n",
        environment: "import os\ndef seen():\n  return {k: v for k, v in os.environ.items() if k.startswith('__OW_') or k == 'OWN'}\ninit = seen()\ndef main(a):\n  return {'init': init, 'run': seen()}\n",
        child_environment: "import subprocess, sys\ndef main(a):\n  code = 'import os; print(os.environ[\"__OW_ACTIVATION_ID\"])'\n  id = subprocess.check_output([sys.executable, '-c', code], text=True)\n  return {'id': id.strip()}\n",
        prints: "import sys\ndef main(a):\n  print('out')\n  print('err', file=sys.stderr)\n  print('é', end='')\n  return {}\n",
        floods: "def main(a):\n  for i in range(a['lines']):\n    print('x' * 99)\n  return {}\n",
        asynchronous: "import asyncio\nasync def main(a):\n  await asyncio.sleep(0.005)\n  return {'late': True}\n",
        throws: "def main(a):\n  raise Exception('boom')\n",
        string: "def main(a):\n  return 'text'\n",
        no_object: "The action did not return a dictionary or array.",
        fails: "def main(a):\n  return {'error': 'bad', 'more': 1}\n",
        broken: "def main(:\n",
        cannot_start: "Cannot start action. Check logs for details.",
        no_main: "def other(a):\n  return {}\n",
        exits: "import sys\ndef main(a):\n  sys.exit(3)\n",
        exits_early: "import os\nos._exit(3)\n",
        loops: "def main(a):\n  print('begun')\n  while True:\n    pass\n",
        loops_early: "while True:\n  pass\n",
        hogs: "kept = []\ndef main(a):\n  while True:\n    kept.append(b'x' * (1 << 22))\n",
        large: "def main(a):\n  return {'x': 'x' * a['size']}\n",
        fills_disk: "import os, shutil\ndef main(a):\n  try:\n    for i in range(1000):\n      with open(f'/tmp/f{i}', 'wb') as f:\n        f.write(bytes(1 << 20))\n  except OSError as e:\n    for f in os.listdir('/tmp'):\n      shutil.rmtree('/tmp/' + f, ignore_errors=True)\n      if os.path.exists('/tmp/' + f):\n        os.unlink('/tmp/' + f)\n    return {'full': e.errno == 28}\n  return {'full': False}\n",
        forks: "import os, time\ndef main(a):\n  while True:\n    try:\n      if os.fork() == 0:\n        time.sleep(1000)\n    except OSError:\n      pass\n",
        forges: "import os\ndef main(a):\n  os.write(3, (13).to_bytes(4, 'big') + a['call'].to_bytes(4, 'big') + b'{\"result\":{}}')\n  return {'own': True}\n",
        promises_too_much: "import os, time\ndef main(a):\n  os.write(3, b'\\xff\\xff\\xff\\xff\\0\\0\\0\\2{')\n  time.sleep(1000)\n",
        archive_main: "__main__.py",
        archive_code: "import side\ndef main(a):\n  return {'side': side.side}\n",
        archive_side: ("side.py", "side = 'yes'\ndef func(a):\n  return {'func': True}\n"),
        archive_other: "side.func",
    },
];
