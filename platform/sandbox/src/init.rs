//! `sandbox-init`: the single-threaded program that makes a sandbox from inside.
//!
//! Two processes. The *maker* receives the order, joins the control groups, enters the prepared
//! network and forks the *first*, in new namespaces and as a child of the hub; it maps its user
//! and exits. The first builds the root, gives up every right, forks the program and stays as
//! process 1, that collects the dead and reports the end.

mod first;
mod limits;
mod maker;
mod root;
mod rules;
mod syscalls;

use std::{io, os::fd::BorrowedFd};

use nix::errno::Errno;

use crate::{
    process::letter::Word,
    sys::{close_from, inherited, send_fds},
};

/// A step that failed.
#[derive(Debug)]
struct Failure {
    step: String,
    errno: Errno,
}

/// Names the step that a result belongs to.
trait At<T> {
    fn at(self, step: &str) -> Result<T, Failure>;
}

/// Makes the sandbox that the hub orders on standard input, which is a socket; never returns.
///
/// The program's `main` calls it first of all when its first argument is `sandbox-init`, before
/// any thread or runtime exists.
pub fn sandbox_init_main() -> ! {
    let code = match close_from(3).and_then(|()| inherited(0)) {
        Ok(control) => maker::make(control),
        Err(_) => 1,
    };
    std::process::exit(code)
}

fn tell(control: BorrowedFd<'_>, word: &Word, fds: &[BorrowedFd<'_>]) -> Result<(), Failure> {
    send_fds(control, &word.to_bytes(), fds).at("tell the hub")
}

fn tell_failure(control: BorrowedFd<'_>, failure: &Failure) -> i32 {
    let word = Word::Failed { step: failure.step.clone(), errno: failure.errno as i32 };
    match send_fds(control, &word.to_bytes(), &[]) {
        Ok(()) => 1,
        // The hub is gone: nobody is left to tell.
        Err(_) => 2,
    }
}

// === impl At ===

impl<T> At<T> for nix::Result<T> {
    fn at(self, step: &str) -> Result<T, Failure> {
        self.map_err(|errno| Failure { step: step.to_owned(), errno })
    }
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            step: step.to_owned(),
            errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
        })
    }
}
