//! Ways out, each tried from inside; none succeeds.

use std::{fs, os::unix::fs::PermissionsExt};

use evoke_sandbox::Ending;

use crate::stage::{PYTHON, Stage, is_root, read_line, spec};

/// Calls `name(arguments)` of the kernel and prints what came.
const SYSCALLS: &str = r#"
import ctypes, os, json
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return [result, ctypes.get_errno()]
buf = ctypes.create_string_buffer(4096)
NEWUSER, NEWNS = 0x10000000, 0x20000
tried = {
    'mount': call(165, b'none', b'/tmp', b'tmpfs', 0, 0),
    'umount': call(166, b'/tmp', 2),
    'open_tree': call(428, -100, b'/', 1),
    'fsopen': call(430, b'tmpfs', 0),
    'pivot_root': call(155, b'/tmp', b'/tmp'),
    'chroot': call(161, b'/tmp'),
    'unshare user': call(272, NEWUSER),
    'unshare mount': call(272, NEWNS),
    'setns': call(308, 0, 0),
    'clone user': call(56, NEWUSER | 17, 0, 0, 0, 0),
    'clone3': call(435, buf, 88),
    'ptrace': call(101, 16, 1, 0, 0),
    'ptrace traceme': call(101, 0, 0, 0, 0),
    'process_vm_readv': call(310, 1, buf, 1, buf, 1, 0),
    'process_vm_writev': call(311, 1, buf, 1, buf, 1, 0),
    'pidfd_getfd': call(438, 0, 0, 0),
    'kcmp': call(312, 1, 1, 0, 0, 0),
    'keyctl': call(250, 0, -3, 0),
    'add_key': call(248, b'user', b'x', b'y', 1, -3),
    'request_key': call(249, b'user', b'x', 0, -3),
    'io_uring_setup': call(425, 8, buf),
    'bpf': call(321, 0, buf, 48),
    'perf_event_open': call(298, buf, 0, -1, -1, 0),
    'userfaultfd': call(323, 0),
    'open_by_handle_at': call(304, -100, buf, 0),
    'kexec_load': call(246, 0, 0, 0, 0),
    'init_module': call(175, buf, 0, b''),
    'reboot': call(169, 0xfee1dead, 672274793, 0),
    'swapon': call(167, b'/tmp/x', 0),
    'sethostname': call(170, b'x', 1),
    'settimeofday': call(164, buf, 0),
    'personality': call(135, 0x0040000),
    'setuid 0': call(105, 0),
    'setresuid 0': call(117, 0, 0, 0),
    'setgid 0': call(106, 0),
    'socket packet': call(41, 17, 3, 0),
    'socket netlink': call(41, 16, 3, 0),
    'socket raw': call(41, 2, 3, 1),
    'socket vsock': call(41, 40, 1, 0),
    'socket alg': call(41, 38, 5, 0),
    'tiocsti': call(16, 0, 0x5412, buf),
    'mknod device': call(133, b'/tmp/device', 0o60666, 0xfe00),
    'getpid, that shows that calls are made': call(39),
}
print(json.dumps({name: result for name, result in tried.items() if result[0] != -1}))
"#;

#[tokio::test(flavor = "multi_thread")]
async fn no_dangerous_system_call_succeeds() {
    let stage = Stage::open().await;
    let outcome = stage.python("calls", SYSCALLS).await;
    let only = r#"{"getpid, that shows that calls are made": [2, 0]}"#;
    assert_eq!(outcome.stdout.trim(), only, "{}", outcome.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn host_files_are_not_there_for_python_and_node() {
    let stage = Stage::open().await;
    let secret = stage.data.path().join("credentials");
    fs::write(&secret, "the key").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
    let paths = [
        secret.to_str().unwrap(),
        "/etc/shadow",
        "/root",
        "/home",
        "/work",
        "/var/log",
        "/sys",
        "/run",
        "/proc/1/root/etc/shadow",
        "/proc/1/environ",
        "/proc/1/mem",
        "/proc/1/fd",
        "/proc/kcore",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
        "/dev/vda",
        "/dev/mem",
        "/dev/kmsg",
        "/dev/fuse",
    ];
    let list = format!("{paths:?}");
    let python = format!(
        "import os\nfor p in {list}:\n  try:\n    d = os.listdir(p) if os.path.isdir(p) else \
         open(p,'rb').read(8)\n    if d: print(p, d)\n  except OSError: pass\nprint('end')"
    );
    let node = format!(
        "const fs=require('fs');for(const p of {list}){{try{{const d=fs.statSync(p).isDirectory()\
         ?fs.readdirSync(p):fs.readFileSync(p);if(d.length)console.log(p,d)}}catch{{}}}}\
         console.log('end')"
    );
    assert_eq!(stage.python("python", &python).await.stdout, "end\n");
    assert_eq!(stage.node("node", &node).await.stdout, "end\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_tmp_can_be_written() {
    let stage = Stage::open().await;
    let code = "
import os
places = ['/', '/usr', '/etc', '/dev', '/proc', '/proc/sys', '/var', '/var/empty', '/lib', '/bin', '/tmp']
written = []
for place in places:
    try:
        open(place + '/evil', 'w').write('x'); written.append(place)
    except OSError: pass
for path in ['/etc/passwd', '/usr/bin/env', '/proc/sys/kernel/hostname', '/proc/1/oom_score_adj', '/usr']:
    try: os.chmod(path, 0o777); written.append(path)
    except OSError: pass
    try: open(path, 'a').write('x'); written.append(path)
    except OSError: pass
print(written)";
    assert_eq!(stage.python("writes", code).await.stdout, "['/tmp']\n");
    let node = "const fs=require('fs');const w=[];for(const p of ['/','/usr','/etc','/dev','/proc/sys','/tmp'])\
                try{fs.writeFileSync(p+'/evil','x');w.push(p)}catch{};console.log(w.join())";
    assert_eq!(stage.node("writes-node", node).await.stdout, "/tmp\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_has_a_user_without_rights() {
    let stage = Stage::open().await;
    let code = "
import os
status = open('/proc/self/status').read()
fields = dict(line.split(':\\t', 1) for line in status.splitlines() if ':\\t' in line)
print(os.getuid(), os.geteuid(), os.getgid(), sorted(os.getgroups())[:0],
      *[fields[k] for k in ('CapEff', 'CapPrm', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp')])
print(open('/proc/self/uid_map').read().split()[0::2])
print(os.uname().nodename, open('/proc/self/cgroup').read().count(':/\\n') == len(open('/proc/self/cgroup').readlines()))";
    let zero = "0000000000000000";
    let expected =
        format!("1000 1000 1000 [] {zero} {zero} {zero} {zero} 1 2\n['1000', '1']\nsandbox True\n");
    let outcome = stage.python("rights", code).await;
    if is_root() {
        assert_eq!(outcome.stdout, expected, "{}", outcome.stderr);
    } else {
        // Its control group is the caller's: no namespace hides the part above.
        assert_eq!(outcome.stdout.lines().nth(1), expected.lines().nth(1));
        assert_eq!(outcome.stdout.lines().next(), expected.lines().next());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn set_uid_programs_give_nothing() {
    let stage = Stage::open().await;
    let code = "
import subprocess, os
for program in ['/usr/bin/su', '/usr/bin/passwd', '/usr/bin/mount', '/usr/bin/newgrp']:
    if os.path.exists(program):
        r = subprocess.run([program, '--help'], capture_output=True)
r = subprocess.run(['/usr/bin/mount', '-t', 'tmpfs', 'x', '/tmp'], capture_output=True)
print(r.returncode != 0, os.geteuid(), bool(os.statvfs('/usr').f_flag & os.ST_NOSUID), bool(os.statvfs('/tmp').f_flag & os.ST_NOSUID))";
    assert_eq!(stage.python("setuid", code).await.stdout, "True 1000 True True\n");
    let node = "try{process.setuid(0);console.log('root')}catch(e){console.log('no')}\
                console.log(process.geteuid())";
    assert_eq!(stage.node("setuid-node", node).await.stdout, "no\n1000\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_processes_are_invisible() {
    let stage = Stage::open().await;
    let other = stage.start(spec("other", PYTHON, "print('up', flush=True); input()")).await;
    // Standard input is empty, so it ends by itself; what matters is the host, that never ends.
    read_line(&other.stdout).await;
    let python = "import os; print([p for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()])";
    assert_eq!(stage.python("see", python).await.stdout, "[]\n");
    let node = "console.log(require('fs').readdirSync('/proc').filter(p => +p && +p !== process.pid).join())";
    assert_eq!(stage.node("see-node", node).await.stdout, "\n");
    let signal = format!(
        "
import os
for pid in [{}, 1, {}]:
    try: os.kill(pid, 9); print('sent')
    except OSError as e: print(type(e).__name__)
print('alive')",
        other.life.host_pid(),
        std::process::id()
    );
    let outcome = stage.python("signal", &signal).await;
    assert_eq!(outcome.stdout.lines().last(), Some("alive"), "{}", outcome.stderr);
    assert!(!outcome.stdout.lines().next().unwrap().contains("sent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_share_neither_files_nor_memory() {
    let stage = Stage::open().await;
    let hold = "
import mmap, time
open('/tmp/secret', 'w').write('mine')
open('/dev/shm/secret', 'w').write('mine')
print('up', flush=True)
while True: time.sleep(60)";
    let holder = stage.start(spec("holder", PYTHON, hold)).await;
    assert_eq!(read_line(&holder.stdout).await, "up");
    let pid = holder.life.host_pid();
    let code = format!(
        "
import os
print(os.path.exists('/tmp/secret'), os.path.exists('/dev/shm/secret'))
for p in range(1, 65536):
    if p == os.getpid(): continue
    for what in ('mem', 'root/tmp/secret', 'maps', 'cwd/secret'):
        try: open('/proc/%d/%s' % (p, what), 'rb').read(1); print(p, what)
        except OSError: pass
print(os.path.exists('/proc/{pid}'))"
    );
    let outcome = stage.python("reader", &code).await;
    assert_eq!(outcome.stdout, "False False\nFalse\n", "{}", outcome.stderr);
    holder.life.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_four_descriptors_are_inherited() {
    let stage = Stage::open().await;
    // A descriptor that the hub leaks on purpose.
    let leaked = fs::File::open("/etc/hostname").unwrap();
    let kept = nix::fcntl::fcntl(&leaked, nix::fcntl::FcntlArg::F_DUPFD(100)).unwrap();
    let code = "
import os, stat
found = []
for fd in range(3, 1024):
    try: found.append((fd, stat.S_ISSOCK(os.fstat(fd).st_mode)))
    except OSError: pass
print(found, os.readlink('/proc/self/fd/0'))";
    let outcome = stage.python("descriptors", code).await;
    assert_eq!(outcome.stdout, "[(3, True)] /dev/null\n");
    assert!(kept >= 100);
    nix::unistd::close(kept).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_told_as_it_was() {
    let stage = Stage::open().await;
    let check = async |name: &str, code: &str, ending: Ending| {
        let exit = stage.python(name, code).await.exit;
        assert_eq!((exit.ending, exit.oom_killed), (ending, false));
    };
    check("code", "import sys; sys.exit(7)", Ending::Code(7)).await;
    check("signal", "import os; os.kill(os.getpid(), 9)", Ending::Signal(9)).await;
    check("orphans", "import os; os.fork() or os.fork(); 0", Ending::Code(0)).await;
}
