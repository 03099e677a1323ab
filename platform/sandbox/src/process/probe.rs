//! Whether this machine lets us isolate: by doing it once, with nothing to run.

use std::{io, path::PathBuf, process::Child, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    control::Control,
    letter::{Net, Order, Word, seal},
    spawner::Spawner,
};

/// A set-up takes milliseconds.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
const REAP_EVERY: Duration = Duration::from_millis(1);

/// What isolates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Isolation {
    pub(super) namespaces: bool,
    pub(super) seccomp: bool,
    /// A sentence, where one of the two is missing.
    pub(super) missing: Option<String>,
}

/// Tries all, then each alone to tell what is missing.
pub(super) async fn isolation(
    spawner: &Spawner,
    uid: Option<u32>,
    notes: &mut Vec<String>,
) -> Isolation {
    let Err(first) = try_once(spawner, uid, true, true).await else {
        return Isolation { namespaces: true, seccomp: true, missing: None };
    };
    let namespaces = try_once(spawner, uid, true, false).await.is_ok();
    let seccomp = try_once(spawner, uid, false, true).await.is_ok();
    let missing = format!("actions would not be isolated: {first}");
    notes.push(missing.clone());
    Isolation { namespaces, seccomp, missing: Some(missing) }
}

async fn try_once(
    spawner: &Spawner,
    uid: Option<u32>,
    isolate: bool,
    seccomp: bool,
) -> Result<(), String> {
    let attempt = async {
        let (control, theirs) = Control::pair()?;
        let order = Order {
            argv: vec!["/bin/true".to_owned()],
            env: Vec::new(),
            shown: Vec::new(),
            files: Vec::new(),
            workdir: PathBuf::from("/tmp"),
            tmp_bytes: 1 << 20,
            pids: 1,
            uid,
            join: Vec::new(),
            born_in: None,
            net: Net::Own { listen: None },
            isolate,
            seccomp,
            probe: true,
        };
        let memory = seal(&order, &[])?;
        let mut maker = spawner.spawn(theirs).await?;
        let (one, two) = nix::unistd::pipe()?;
        control.order(&[&memory, &one, &two, &two].map(std::os::fd::AsFd::as_fd))?;
        let outcome = hear(&control).await;
        collect(&mut maker).await?;
        outcome
    };
    match timeout(PROBE_TIMEOUT, attempt).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the set-up does not end".to_owned()),
    }
}

async fn hear(control: &Control) -> io::Result<()> {
    let mut pidfd = None;
    let mut outcome = Err(io::Error::other("`sandbox-init` said nothing; is it this program?"));
    while let Some((word, fds)) = control.next().await? {
        match word {
            Word::Spawned { .. } => pidfd = fds.into_iter().next(),
            Word::Started => outcome = Ok(()),
            Word::Failed { step, errno } => {
                let error = io::Error::from_raw_os_error(errno);
                outcome = Err(io::Error::other(format!("{step}: {error}")));
            }
            Word::Listening | Word::Exited { .. } => {}
        }
    }
    if let Some(pidfd) = pidfd {
        super::guardian::end_of(&pidfd).await?;
    }
    outcome
}

async fn collect(maker: &mut Child) -> io::Result<()> {
    while maker.try_wait()?.is_none() {
        sleep(REAP_EVERY).await;
    }
    Ok(())
}
