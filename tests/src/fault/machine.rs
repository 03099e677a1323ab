//! A machine whose clock is set and whose disk fails: builds the preload library and tells it what to do.

use std::{
    ffi::OsString,
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::powercut::compile;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/faults/machine.c");
/// Bytes of what the library is told: two numbers.
const TOLD_BYTES: u64 = 16;

/// One machine.
#[derive(Debug)]
pub struct Machine {
    library: PathBuf,
    path: PathBuf,
    told: File,
}

impl Machine {
    /// A sound machine; what it is told lies in `room`.
    ///
    /// # Errors
    /// No C compiler, or what the files say.
    pub fn new(room: &Path) -> io::Result<Self> {
        let library = compile(Path::new(SOURCE), &["-shared", "-fPIC"])?;
        let path = room.join("machine");
        let told = File::create(&path)?;
        told.set_len(TOLD_BYTES)?;
        Ok(Self { library, path, told })
    }

    /// The variables that put a program on this machine; syncs of paths with this part in them
    /// can fail.
    #[must_use]
    pub fn environment(&self, syncs: &str) -> Vec<(&'static str, OsString)> {
        vec![
            ("LD_PRELOAD", self.library.clone().into_os_string()),
            ("MACHINE_TOLD", self.path.clone().into_os_string()),
            ("MACHINE_SYNC", syncs.into()),
        ]
    }

    /// Sets the clock to so many milliseconds from the true time.
    ///
    /// # Errors
    /// What the file says.
    pub fn set_clock(&self, ahead_ms: i64) -> io::Result<()> {
        self.told.write_all_at(&ahead_ms.to_ne_bytes(), 0)
    }

    /// Lets syncs fail, or succeed again.
    ///
    /// # Errors
    /// What the file says.
    pub fn fail_syncs(&self, fail: bool) -> io::Result<()> {
        self.told.write_all_at(&i64::from(fail).to_ne_bytes(), 8)
    }
}
