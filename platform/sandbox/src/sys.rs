//! Linux calls that no crate of ours wraps, one safe function each.

use std::{
    ffi::CString,
    io::{IoSlice, IoSliceMut},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};
use tokio::io::{Interest, unix::AsyncFd};

/// Most file descriptors one message carries.
pub(crate) const MAX_FDS: usize = 8;

/// Which of the two processes goes on after [`clone3`].
#[derive(Debug)]
pub(crate) enum Forked {
    /// The new one.
    Child,
    /// The one that called.
    Parent { pid: i32, pidfd: OwnedFd },
}

fn check(result: libc::c_long) -> nix::Result<libc::c_long> {
    Errno::result(result)
}

fn to_cstring(path: &Path) -> nix::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).or(Err(Errno::EINVAL))
}

#[expect(unsafe_code, reason = "a raw descriptor from the kernel becomes an owned one")]
fn owned(fd: libc::c_long) -> nix::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).or(Err(Errno::EBADF))?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A descriptor of the process `pid`.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn pidfd_open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: takes two integers.
    owned(check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?)
}

/// Sends `signal` to the process behind `pidfd`, which cannot be mistaken for another.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> nix::Result<()> {
    let null = std::ptr::null::<libc::siginfo_t>();
    let fd = pidfd.as_raw_fd();
    // SAFETY: a null siginfo is allowed and means the same as in kill(2).
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, null, 0) })?;
    Ok(())
}

/// Forks this single-threaded process with `flags`, the child in the v2 control group `cgroup`.
///
/// The child's parent is this process, or this process's parent with `CLONE_PARENT`.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn clone3(flags: i32, cgroup: Option<BorrowedFd<'_>>) -> nix::Result<Forked> {
    let mut pidfd: RawFd = -1;
    let flags = u64::from(flags.cast_unsigned()) | (libc::CLONE_PIDFD as u64);
    let into = if cgroup.is_some() { 0x2_0000_0000 } else { 0 };
    let signal =
        if flags & (libc::CLONE_PARENT as u64) != 0 { 0 } else { libc::SIGCHLD.cast_unsigned() };
    let args = libc::clone_args {
        flags: flags | into,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: u64::from(signal),
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| u64::from(fd.as_raw_fd().cast_unsigned())),
    };
    // SAFETY: without CLONE_VM the child has its own copy of everything, and the only thread of
    // this process goes on in both; `args` and `pidfd` live through the call.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of_val(&args)) })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    let pid = i32::try_from(pid).or(Err(Errno::EOVERFLOW))?;
    Ok(Forked::Parent { pid, pidfd: owned(pidfd.into())? })
}

/// Closes every descriptor from `first` on.
///
/// Only for a process that has just begun: what it inherited has no owner yet.
pub(crate) fn close_from(first: u32) -> nix::Result<()> {
    close_range(first, 0)
}

/// Has the next `execve` close every descriptor from `first` on.
pub(crate) fn close_at_exec_from(first: u32) -> nix::Result<()> {
    close_range(first, libc::CLOSE_RANGE_CLOEXEC)
}

#[expect(unsafe_code, reason = "raw system call")]
fn close_range(first: u32, flags: u32) -> nix::Result<()> {
    // SAFETY: takes integers; the two callers say why no owner is robbed.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) })?;
    Ok(())
}

/// Makes `from` known as `to`, without close-on-exec.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn dup_to(from: BorrowedFd<'_>, to: RawFd) -> nix::Result<()> {
    // SAFETY: callers replace only 0 to 4, which no owned descriptor holds.
    check(unsafe { libc::dup2(from.as_raw_fd(), to) }.into())?;
    Ok(())
}

/// Takes the descriptor `fd`, which nobody else in this process owns.
pub(crate) fn inherited(fd: RawFd) -> nix::Result<OwnedFd> {
    owned(fd.into())
}

/// A detached, recursive copy of the mounts at `path`.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn open_tree(path: &Path) -> nix::Result<OwnedFd> {
    let path = to_cstring(path)?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | (libc::AT_RECURSIVE as u32);
    // SAFETY: `path` is a C string that lives through the call.
    owned(check(unsafe {
        libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags)
    })?)
}

/// Puts a detached mount at `to`.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn move_mount(tree: BorrowedFd<'_>, to: &Path) -> nix::Result<()> {
    const F_EMPTY_PATH: u32 = 4;
    let to = to_cstring(to)?;
    let empty = c"";
    // SAFETY: both paths are C strings that live through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            empty.as_ptr(),
            libc::AT_FDCWD,
            to.as_ptr(),
            F_EMPTY_PATH,
        )
    })?;
    Ok(())
}

/// Adds mount attributes to the mount that `tree` is (`recursive`: and to those below).
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn restrict_mount(
    tree: BorrowedFd<'_>,
    attributes: u64,
    recursive: bool,
) -> nix::Result<()> {
    let attr = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let empty = c"";
    // SAFETY: the path and the attributes live through the call, and the size is theirs.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            empty.as_ptr(),
            flags,
            &raw const attr,
            size_of_val(&attr),
        )
    })?;
    Ok(())
}

/// Gives up every capability, for good: bounding, ambient, inheritable, permitted, effective.
#[expect(unsafe_code, reason = "raw system calls")]
pub(crate) fn drop_capabilities() -> nix::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    const LAST: i32 = 63;
    for capability in 0..=LAST {
        // SAFETY: takes integers. An unknown capability is EINVAL, and not a fault.
        match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }.into()) {
            Ok(_) => {}
            Err(Errno::EINVAL) => break,
            // Without CAP_SETPCAP (no namespaces) the set stays, and no_new_privs makes it idle.
            Err(Errno::EPERM) => break,
            Err(errno) => return Err(errno),
        }
    }
    // SAFETY: takes integers.
    let clear =
        unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    check(clear.into())?;
    let header: [u32; 2] = [VERSION_3, 0];
    let data = [0_u32; 6];
    // SAFETY: version 3 wants a header of two words and data of six.
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })?;
    Ok(())
}

/// Landlock's ABI here; `None` where the kernel has none.
#[expect(unsafe_code, reason = "raw system call")]
pub(crate) fn landlock_abi() -> Option<u32> {
    const VERSION: u32 = 1;
    let null = std::ptr::null::<u8>();
    // SAFETY: a null ruleset of size 0 with this flag only asks for the version.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, null, 0_usize, VERSION) };
    u32::try_from(abi).ok().filter(|abi| *abi > 0)
}

/// Sends one message with `fds` attached.
pub(crate) fn send_fds(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> nix::Result<()> {
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &rights[..0] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)?;
    Ok(())
}

/// Receives one message and the descriptors attached to it; no bytes mean that the peer is gone.
pub(crate) fn recv_fds(socket: impl AsFd, buf: &mut [u8]) -> nix::Result<(usize, Vec<OwnedFd>)> {
    let mut space = cmsg_space!([RawFd; MAX_FDS]);
    let mut slices = [IoSliceMut::new(buf)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            for fd in raw {
                fds.push(owned(fd.into())?);
            }
        }
    }
    Ok((message.bytes, fds))
}

/// Watches `fd` with this thread's tokio runtime.
#[expect(unsafe_code, reason = "the runtime keeps the number of the descriptor")]
pub(crate) fn watch(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor has one number for as long as it lives, and `AsyncFd` keeps it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}
