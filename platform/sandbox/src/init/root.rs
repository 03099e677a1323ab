//! The root of a sandbox: a tiny read-only tree of the system's own directories and a `/tmp`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{OpenOptionsExt, symlink},
    },
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    unistd::{chdir, pivot_root},
};

use super::{At, Failure};
use crate::{
    process::letter::Order,
    sys::{move_mount, open_tree, restrict_mount},
};

/// Where the new root is put together; its old content is still reachable by the trees taken before.
const BASE: &str = "/tmp";
/// An empty, read-only directory: what covers others.
const EMPTY: &str = "var/empty";
/// The system's directories; each is a directory or, on merged systems, a link into `/usr`.
const SYSTEM: &[&str] = &["usr", "bin", "sbin", "lib", "lib64", "lib32"];
/// What of `/etc` the dynamic linker and TLS need.
const ETC: &[&str] = &[
    "etc/ld.so.cache",
    "etc/ssl/certs",
    "etc/ssl/openssl.cnf",
    "etc/pki/tls/certs",
    "etc/pki/ca-trust/extracted",
    "etc/ca-certificates",
];
const DEVICES: &[&str] = &["dev/null", "dev/zero", "dev/full", "dev/random", "dev/urandom"];
/// The only entries of `/proc`, besides processes, that are not covered: interpreters size
/// themselves by them.
const PROC: &[&str] =
    &["cpuinfo", "meminfo", "stat", "uptime", "loadavg", "version", "filesystems", "mounts"];

const PASSWD: &str = "action:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
const GROUP: &str = "action:x:1000:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost sandbox\n";
const RESOLV: &str = "nameserver 127.0.0.1\noptions timeout:5 attempts:2\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// Room in the root for directories and the small files of its own. Unit: bytes.
const ROOT_BYTES: u64 = 1 << 20;
/// Files and directories in `/tmp`.
const TMP_FILES: u64 = 65_536;

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NO_SUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NO_DEV: u64 = libc::MOUNT_ATTR_NODEV;

/// The host's trees that the root will show, taken while the host is still visible.
#[derive(Debug)]
pub(super) struct Root {
    trees: Vec<(PathBuf, Kind, OwnedFd)>,
    links: Vec<(PathBuf, PathBuf)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    File,
    Device,
}

// === impl Root ===

impl Root {
    /// Takes copies of the mounts to show. Needs the host's user to reach into closed directories.
    pub(super) fn gather(order: &Order) -> Result<Self, Failure> {
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).at("private mounts")?;
        let mut root = Self { trees: Vec::new(), links: Vec::new() };
        for name in SYSTEM {
            let host = Path::new("/").join(name);
            match fs::read_link(&host) {
                Ok(target) => root.links.push((PathBuf::from(name), target)),
                Err(_) => root.take_if_there(name)?,
            }
        }
        for name in ETC {
            root.take_if_there(name)?;
        }
        for name in DEVICES {
            root.take(&Path::new("/").join(name), Path::new(name), true).at("take devices")?;
        }
        if let Some(home) = interpreter_home(order) {
            let inside = relative(&home);
            root.take(&home, &inside, false).at("show the interpreter")?;
        }
        for (host, inside) in &order.shown {
            root.take(host, &relative(inside), false).at(&format!("show `{}`", host.display()))?;
        }
        Ok(root)
    }

    fn take_if_there(&mut self, name: &str) -> Result<(), Failure> {
        let host = Path::new("/").join(name);
        if host.exists() {
            self.take(&host, Path::new(name), false).at("take the system")
        } else {
            Ok(())
        }
    }

    fn take(&mut self, host: &Path, inside: &Path, device: bool) -> io::Result<()> {
        let kind = match fs::metadata(host)? {
            _ if device => Kind::Device,
            meta if meta.is_dir() => Kind::Directory,
            _ => Kind::File,
        };
        self.trees.push((inside.to_owned(), kind, open_tree(host)?));
        Ok(())
    }

    /// Puts the root together and moves into it; the host is gone afterwards.
    pub(super) fn build(self, order: &Order, content: File) -> Result<(), Failure> {
        let files: u64 =
            order.files.iter().map(|(_, length, _)| length.next_multiple_of(4096)).sum();
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let options = format!("mode=755,size={}", ROOT_BYTES + files);
        mount(Some("root"), BASE, Some("tmpfs"), flags, Some(options.as_str()))
            .at("mount the root")?;
        chdir(BASE).at("enter the root")?;
        for (link, target) in &self.links {
            symlink(target, link).at("link the system")?;
        }
        let empty_options = Some("mode=555,size=4096,nr_inodes=2");
        fs::create_dir_all(EMPTY).at("make the root")?;
        mount(Some("empty"), EMPTY, Some("tmpfs"), flags | MsFlags::MS_RDONLY, empty_options)
            .at("mount the root")?;
        for (inside, kind, tree) in &self.trees {
            attach(inside, *kind, tree).at(&format!("show `/{}`", inside.display()))?;
        }
        make_tmp(order).at("make /tmp")?;
        make_own_files().at("make /etc")?;
        place_files(order, content).at("place files")?;
        fs::create_dir_all(relative(&order.workdir)).at("make the work directory")?;
        make_proc()?;
        leave_host()
    }
}

/// The directory of an interpreter outside of the system's: `/opt/x` of `/opt/x/bin/node`.
fn interpreter_home(order: &Order) -> Option<PathBuf> {
    let program = order.argv.first()?;
    let shown = order.shown.iter().map(|(_, inside)| inside.as_path());
    let placed = order.files.iter().map(|(path, ..)| path.as_path());
    if shown.chain(placed).any(|path| Path::new(program).starts_with(path)) {
        return None;
    }
    let real = fs::canonicalize(program).ok()?;
    let is_system = SYSTEM.iter().any(|name| real.starts_with(Path::new("/").join(name)));
    let directory = real.parent()?;
    if is_system || directory == Path::new("/") {
        return None;
    }
    match (directory.ends_with("bin"), directory.parent()) {
        (true, Some(home)) if home != Path::new("/") => Some(home.to_owned()),
        _ => Some(directory.to_owned()),
    }
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

fn attach(inside: &Path, kind: Kind, tree: &OwnedFd) -> io::Result<()> {
    if let Some(parent) = inside.parent() {
        fs::create_dir_all(parent)?;
    }
    match kind {
        Kind::Directory => fs::create_dir_all(inside)?,
        Kind::File | Kind::Device => drop(File::create(inside)?),
    }
    let attributes = if kind == Kind::Device { NO_SUID } else { READ_ONLY | NO_SUID | NO_DEV };
    restrict_mount(tree.as_fd(), attributes, true)?;
    Ok(move_mount(tree.as_fd(), inside)?)
}

fn make_tmp(order: &Order) -> io::Result<()> {
    fs::create_dir_all("tmp")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let options = format!("mode=1777,size={},nr_inodes={TMP_FILES}", order.tmp_bytes);
    mount(Some("tmp"), "tmp", Some("tmpfs"), flags, Some(options.as_str()))?;
    // Shared memory is counted with /tmp, and in the same place.
    symlink("/tmp", "dev/shm")?;
    symlink("/proc/self/fd", "dev/fd")?;
    symlink("/proc/self/fd/0", "dev/stdin")?;
    symlink("/proc/self/fd/1", "dev/stdout")?;
    symlink("/proc/self/fd/2", "dev/stderr")
}

fn make_own_files() -> io::Result<()> {
    fs::create_dir_all("etc")?;
    fs::write("etc/passwd", PASSWD)?;
    fs::write("etc/group", GROUP)?;
    fs::write("etc/hosts", HOSTS)?;
    fs::write("etc/resolv.conf", RESOLV)?;
    fs::write("etc/nsswitch.conf", NSSWITCH)
}

fn place_files(order: &Order, mut content: File) -> io::Result<()> {
    for (path, length, executable) in &order.files {
        let path = relative(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mode = if *executable { 0o555 } else { 0o444 };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
        io::copy(&mut content.by_ref().take(*length), &mut file)?;
    }
    Ok(())
}

fn make_proc() -> Result<(), Failure> {
    fs::create_dir_all("proc").at("make /proc")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "proc", Some("proc"), flags, Some("hidepid=2")).at("mount /proc")?;
    forbid_user_namespaces();
    for entry in fs::read_dir("proc").at("read /proc")? {
        let entry = entry.at("read /proc")?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_process = name.bytes().all(|b| b.is_ascii_digit());
        let kind = entry.file_type().at("read /proc")?;
        if is_process || kind.is_symlink() || PROC.contains(&name.as_ref()) {
            continue;
        }
        let cover = if kind.is_dir() { EMPTY } else { "dev/null" };
        let bind = MsFlags::MS_BIND;
        let target = entry.path();
        mount(Some(cover), &target, None::<&str>, bind, None::<&str>).at("cover /proc")?;
    }
    Ok(())
}

/// The program has no right to make one anyway; where the limit cannot be written, seccomp holds.
fn forbid_user_namespaces() {
    drop(fs::write("proc/sys/user/max_user_namespaces", "0"));
}

fn leave_host() -> Result<(), Failure> {
    pivot_root(".", ".").at("change the root")?;
    umount2(".", MntFlags::MNT_DETACH).at("leave the host")?;
    chdir("/").at("enter the root")?;
    let read_only = MsFlags::MS_REMOUNT
        | MsFlags::MS_BIND
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV;
    mount(None::<&str>, "/", None::<&str>, read_only, None::<&str>).at("close the root")
}
