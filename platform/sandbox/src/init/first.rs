//! The first process of a sandbox: builds it, locks it, starts the program, collects the dead.

use std::{
    convert::Infallible,
    ffi::CString,
    fs::File,
    net::TcpListener,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl, open},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl::{set_dumpable, set_no_new_privs, set_pdeathsig},
        signal::{
            SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask,
        },
        stat::{Mode, umask},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{
        ForkResult, Pid, chdir, execve, fork, pipe2, read, sethostname, setresgid, setresuid,
        setsid, write,
    },
};

use super::{
    At, Failure, limits,
    maker::{INSIDE_ID, Streams},
    root::Root,
    rules, syscalls, tell, tell_failure,
};
use crate::{
    net::netlink::loopback_up,
    process::letter::{Net, Order, STEP_EXEC, Word},
    sys::{close_at_exec_from, drop_capabilities, dup_to, inherited},
};

/// What the first process was given.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) order: Order,
    pub(super) content: File,
    pub(super) streams: Streams,
}

/// Name of the machine inside.
const HOSTNAME: &str = "sandbox";
/// Standard input, output, error, and the channel: the descriptors a program is born with.
const STREAMS: u32 = 4;
/// First number that [`dup_above`] gives.
const FIRST_FREE: i32 = 32;

pub(super) fn run(control: OwnedFd, job: Job) -> i32 {
    match try_run(control.as_fd(), job) {
        Ok(code) => code,
        Err(failure) => tell_failure(control.as_fd(), &failure),
    }
}

fn try_run(control: BorrowedFd<'_>, job: Job) -> Result<i32, Failure> {
    let Job { order, content, streams } = job;
    let program = Program::new(&order)?;
    if order.isolate {
        isolate(control, &order, content)?;
    }
    limits::apply(&order)?;
    arm_death_signal(control)?;
    drop_capabilities().at("drop capabilities")?;
    set_no_new_privs().at("no new privileges")?;
    // Nothing the program does reads this process's memory or borrows its descriptors.
    set_dumpable(false).at("not dumpable")?;
    if order.isolate {
        rules::apply()?;
    }
    if order.seccomp {
        syscalls::apply()?;
    }
    if order.probe {
        tell(control, &Word::Started, &[])?;
        return Ok(0);
    }
    start(control, &program, streams)
}

fn isolate(control: BorrowedFd<'_>, order: &Order, content: File) -> Result<(), Failure> {
    let root = Root::gather(order)?;
    let id = (INSIDE_ID.into(), INSIDE_ID.into());
    setresgid(id.1, id.1, id.1).at("become the sandbox's group")?;
    setresuid(id.0, id.0, id.0).at("become the sandbox's user")?;
    umask(Mode::from_bits_truncate(0o022));
    if let Net::Own { listen } = order.net {
        loopback_up().at("loopback")?;
        if let Some(port) = listen {
            let listener = TcpListener::bind(("127.0.0.1", port)).at("listen for the API")?;
            tell(control, &Word::Listening, &[listener.as_fd()])?;
        }
    }
    sethostname(HOSTNAME).at("host name")?;
    root.build(order, content)
}

/// The death signal is lost when the user changes, so it is armed last; had the hub died before,
/// its end of the socket would be closed.
fn arm_death_signal(control: BorrowedFd<'_>) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGKILL).at("death signal")?;
    let mut fds = [PollFd::new(control, PollFlags::POLLHUP)];
    let ready = poll(&mut fds, PollTimeout::ZERO).at("look for the hub")?;
    if ready == 0 { Ok(()) } else { Err(Errno::ESRCH).at("look for the hub") }
}

fn start(control: BorrowedFd<'_>, program: &Program, streams: Streams) -> Result<i32, Failure> {
    let (failed_read, failed_write) = pipe2(OFlag::O_CLOEXEC).at("pipe")?;
    match fork_here().at("fork")? {
        ForkResult::Child => {
            // Its own number may be 3, which the channel takes.
            let failed_write = dup_above(failed_write.as_fd()).at("pipe")?;
            let errno = program.execute(&streams);
            // Nobody hears it when the pipe is gone too; the exit code is all that is left.
            let told = write(&failed_write, &(errno as i32).to_le_bytes());
            exit_now(if told.is_ok() { 126 } else { 127 })
        }
        ForkResult::Parent { child } => {
            drop((failed_write, streams));
            let mut errno = [0; 4];
            if read(&failed_read, &mut errno).at("watch the program")? == 4 {
                return Err(Errno::from_raw(i32::from_le_bytes(errno))).at(STEP_EXEC);
            }
            drop(failed_read);
            tell(control, &Word::Started, &[])?;
            settle()?;
            Ok(collect(control, child))
        }
    }
}

/// Lets go of the hub's stderr, the last thing held besides the socket.
fn settle() -> Result<(), Failure> {
    let null = open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty());
    let null = null.at("open /dev/null")?;
    dup_to(null.as_fd(), 1).and_then(|()| dup_to(null.as_fd(), 2)).at("let go of stderr")
}

/// Collects the dead until the program is among them, and reports how it ended.
fn collect(control: BorrowedFd<'_>, program: Pid) -> i32 {
    let word = loop {
        match waitpid(None, Some(WaitPidFlag::__WALL)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == program => {
                break Word::Exited { code: Some(code), signal: None };
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == program => {
                break Word::Exited { code: None, signal: Some(signal as i32) };
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => break Word::Exited { code: None, signal: None },
        }
    };
    i32::from(tell(control, &word, &[]).is_err())
}

#[expect(unsafe_code, reason = "fork of a single-threaded process")]
fn fork_here() -> nix::Result<ForkResult> {
    // SAFETY: this process has one thread, so the child may do anything the parent may.
    unsafe { fork() }
}

#[expect(unsafe_code, reason = "leaves without running what the parent registered")]
fn exit_now(code: i32) -> ! {
    // SAFETY: ends this process at once; there is nothing to keep.
    unsafe { libc::_exit(code) }
}

/// The program's texts, as the kernel wants them.
#[derive(Debug)]
struct Program {
    argv: Vec<CString>,
    env: Vec<CString>,
    workdir: CString,
}

// === impl Program ===

impl Program {
    fn new(order: &Order) -> Result<Self, Failure> {
        let text = |text: String| CString::new(text).or(Err(Errno::EINVAL)).at("read the order");
        let argv = order.argv.iter().cloned().map(text).collect::<Result<_, _>>()?;
        let env = order.env.iter().map(|(key, value)| text(format!("{key}={value}")));
        let env = env.collect::<Result<_, _>>()?;
        let workdir = text(order.workdir.to_string_lossy().into_owned())?;
        Ok(Self { argv, env, workdir })
    }

    /// Becomes the program; returns only what went wrong.
    fn execute(&self, streams: &Streams) -> Errno {
        match self.try_execute(streams) {
            Ok(never) => match never {},
            Err(errno) => errno,
        }
    }

    fn try_execute(&self, streams: &Streams) -> nix::Result<Infallible> {
        setsid()?;
        reset_signals()?;
        chdir(self.workdir.as_c_str())?;
        let null = open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        // All move out of the way first, so that none overwrites another.
        let sources = [
            dup_above(null.as_fd())?,
            dup_above(streams.stdout.as_fd())?,
            dup_above(streams.stderr.as_fd())?,
            dup_above(streams.channel.as_fd())?,
        ];
        for (to, from) in (0..).zip(&sources) {
            dup_to(from.as_fd(), to)?;
        }
        close_at_exec_from(STREAMS)?;
        let program = self.argv.first().ok_or(Errno::EINVAL)?;
        execve(program, &self.argv, &self.env)
    }
}

/// A copy of `fd` above every number that [`Program::execute`] gives away.
fn dup_above(fd: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    inherited(fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(FIRST_FREE))?)
}

#[expect(unsafe_code, reason = "resets signal handlers before execve")]
fn reset_signals() -> nix::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default disposition runs no code of ours.
    unsafe { sigaction(Signal::SIGPIPE, &default) }?;
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}
