//! The maker: joins, forks the first process, maps its user, exits.

use std::{
    fs,
    io::Write,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    sched::{CloneFlags, setns},
    sys::{prctl::set_pdeathsig, signal::Signal},
    unistd::{Gid, Uid, getgid, getuid, pipe2, read, setgroups, write},
};

use super::{At, Failure, first, tell, tell_failure};
use crate::{
    process::letter::{Net, Order, Word, open},
    sys::{Forked, clone3, recv_fds},
};

/// The sandbox's one user and group, as it sees itself.
pub(super) const INSIDE_ID: u32 = 1000;

/// The descriptors that come with an order.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) channel: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

pub(super) fn make(control: OwnedFd) -> i32 {
    match try_make(&control) {
        Ok(Next::Exit) => 0,
        Ok(Next::First(job)) => first::run(control, *job),
        Err(failure) => tell_failure(control.as_fd(), &failure),
    }
}

/// Which process returned from the fork.
enum Next {
    Exit,
    First(Box<first::Job>),
}

fn try_make(control: &OwnedFd) -> Result<Next, Failure> {
    set_pdeathsig(Signal::SIGKILL).at("death signal")?;
    let mut byte = [0; 1];
    let (_, fds) = recv_fds(control, &mut byte).at("receive the order")?;
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or(Errno::EBADF).at("receive descriptors");
    let (order, content) = open(next()?).at("read the order")?;
    let streams = Streams { channel: next()?, stdout: next()?, stderr: next()? };
    for file in &order.join {
        fs::OpenOptions::new()
            .write(true)
            .open(file)
            .and_then(|mut file| file.write_all(b"0"))
            .at("join the control group")?;
    }
    if order.net == Net::Prepared {
        setns(next()?, CloneFlags::CLONE_NEWNET).at("enter the network")?;
    }
    if order.uid.is_some() {
        setgroups(&[]).at("drop groups")?;
    }
    fork_first(control.as_fd(), first::Job { order, content, streams })
}

fn fork_first(control: BorrowedFd<'_>, job: first::Job) -> Result<Next, Failure> {
    let born_in = job.order.born_in.as_ref().map(fs::File::open).transpose();
    let born_in = born_in.at("open the control group")?;
    // The first process waits on this pipe until its user is mapped.
    let (go_read, go_write) = pipe2(OFlag::O_CLOEXEC).at("pipe")?;
    let caller = (getuid(), getgid());
    let flags = flags(&job.order);
    match clone3(flags, born_in.as_ref().map(AsFd::as_fd)).at("make namespaces")? {
        Forked::Child => {
            set_pdeathsig(Signal::SIGKILL).at("death signal")?;
            drop(go_write);
            let mut go = [0; 1];
            if read(&go_read, &mut go).at("wait for the maker")? == 0 {
                return Ok(Next::Exit);
            }
            Ok(Next::First(Box::new(job)))
        }
        Forked::Parent { pid, pidfd } => {
            tell(control, &Word::Spawned { pid }, &[pidfd.as_fd()])?;
            if job.order.isolate {
                map_user(pid, job.order.uid, caller).at("map the user")?;
            }
            write(&go_write, b"g").at("let go")?;
            Ok(Next::Exit)
        }
    }
}

fn flags(order: &Order) -> i32 {
    let mut flags = libc::CLONE_PARENT;
    if order.isolate {
        flags |= libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        if order.net != Net::Prepared {
            flags |= libc::CLONE_NEWNET;
        }
    }
    flags
}

fn map_user(pid: i32, uid: Option<u32>, caller: (Uid, Gid)) -> std::io::Result<()> {
    let (user, group) = match uid {
        Some(uid) => (uid, uid),
        None => (caller.0.as_raw(), caller.1.as_raw()),
    };
    fs::write(format!("/proc/{pid}/uid_map"), format!("{INSIDE_ID} {user} 1"))?;
    if uid.is_none() {
        // An ordinary user may map its group only where groups can no longer be dropped.
        fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    }
    fs::write(format!("/proc/{pid}/gid_map"), format!("{INSIDE_ID} {group} 1"))
}
