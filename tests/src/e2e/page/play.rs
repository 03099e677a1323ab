//! A page played in a room of its own: its hub, its files, its shell; what came of it that was not wanted.

use std::{
    fmt, fs, io,
    os::unix::{fs::symlink, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    expected::is_as_wanted,
    parse::{Example, Mistake, Page, Start, Step},
};
use crate::{
    e2e::{place::Place, wait::SOON},
    fault::{error::FaultError, hub::Hub},
};

/// Where the pages say that the hub is.
const SAID: &str = "127.0.0.1:3233";
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Longest run of one command. Unit: seconds.
const COMMAND_SECONDS: &str = "120";
/// Longest life of what a page leaves in the background. Unit: seconds.
const BACKGROUND_SECONDS: &str = "600";
/// Runs a command as the one before left the shell: its variables and its folder.
const SHELL: &str = r#"
set -a
[ -f "$PAGE_SHELL/variables" ] && . "$PAGE_SHELL/variables"
[ -f "$PAGE_SHELL/folder" ] && cd "$(cat "$PAGE_SHELL/folder")"
eval "$PAGE_COMMAND"
status=$?
unset PAGE_COMMAND
export -p > "$PAGE_SHELL/variables"
pwd > "$PAGE_SHELL/folder"
exit $status
"#;

/// Why a page is not as it says.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// It cannot be read.
    #[error("{page}, {mistake}")]
    Unreadable {
        /// Path of the page.
        page: String,
        /// Where and what.
        mistake: Mistake,
    },
    /// An example does something else.
    #[error("{0}")]
    Differs(Box<Difference>),
    /// The room, the shell or the hub.
    #[error("{page}")]
    Room {
        /// Path of the page.
        page: String,
        /// What went wrong.
        #[source]
        source: FaultError,
    },
}

/// What an example was to do, and did.
#[derive(Clone, Debug)]
pub struct Difference {
    page: String,
    example: Example,
    got: String,
    status: String,
}

/// A page's room while it is played.
struct Room {
    place: Place,
    shell: PathBuf,
    hub: Option<Hub>,
    /// What runs in the background, by its job number, with where its output goes.
    jobs: Vec<Option<(Child, PathBuf)>>,
}

/// What became of a command: its output, and its exit status where it has ended.
struct Outcome {
    text: String,
    exit: Option<i32>,
}

/// Plays a page to its end, or to the first example that differs.
///
/// # Errors
/// [`PageError`].
pub async fn play(name: &str, text: &str, project: &Path) -> Result<(), PageError> {
    let page = Page::parse(text)
        .map_err(|mistake| PageError::Unreadable { page: name.to_owned(), mistake })?;
    let broken = |source| PageError::Room { page: name.to_owned(), source };
    let mut room = Room::open(&page.hub, project).await.map_err(broken)?;
    let played = room.play(name, &page.steps).await;
    let ended = room.end(played.is_ok()).await.map_err(broken);
    played.and(ended)
}

// === impl Room ===

impl Room {
    async fn open(start: &Start, project: &Path) -> Result<Self, FaultError> {
        let mut place = Place::new()?;
        let shell = place.room().join(".shell");
        fs::create_dir_all(&shell)?;
        symlink(place.program().canonicalize()?, shell.join("evoke"))?;
        symlink(project.join("examples"), place.room().join("examples"))?;
        let hub = match start {
            Start::Without => None,
            Start::With(words) => {
                place.launch.words.clone_from(words);
                Some(place.start().await?.0)
            }
        };
        Ok(Self { place, shell, hub, jobs: Vec::new() })
    }

    async fn play(&mut self, page: &str, steps: &[Step]) -> Result<(), PageError> {
        for step in steps {
            let done = match step {
                Step::File { name, text } => self.write(name, text).map(|()| None),
                Step::Command(example) => self.example(page, example).await,
            };
            let done = done.map_err(|source| PageError::Room { page: page.to_owned(), source })?;
            if let Some(difference) = done {
                return Err(PageError::Differs(Box::new(difference)));
            }
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), FaultError> {
        let path = self.place.room().join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, text.replace(SAID, &self.address()))?)
    }

    fn address(&self) -> String {
        self.place.launch.address.to_string()
    }

    /// Runs an example; how it differs from what the page says.
    async fn example(
        &mut self,
        page: &str,
        example: &Example,
    ) -> Result<Option<Difference>, FaultError> {
        let began = Instant::now();
        let job = example.is_in_the_background().then(|| self.begin(example)).transpose()?;
        loop {
            let outcome = match job {
                Some(job) => self.so_far(job)?,
                None => self.run(example).await?,
            };
            let is_again = job.is_some() || example.is_a_look();
            if outcome.is_wanted(example) {
                return Ok(None);
            }
            if !is_again || began.elapsed() > SOON {
                return Ok(Some(Difference {
                    page: page.to_owned(),
                    example: example.clone(),
                    status: outcome.exit.map_or("none yet".to_owned(), |code| code.to_string()),
                    got: outcome.text,
                }));
            }
            sleep(LOOK).await;
        }
    }

    /// Runs a command to its end.
    async fn run(&mut self, example: &Example) -> Result<Outcome, FaultError> {
        if let Some(number) = example.command.strip_prefix("kill %") {
            return self.stop(number.parse().unwrap_or(0)).await;
        }
        // Into a file: a pipe would stay open as long as anything that the command left behind.
        let (out, path) = self.output("output")?;
        let status = self.shell(example, COMMAND_SECONDS, out)?.wait().await?;
        Ok(Outcome { text: self.read(&path)?, exit: Some(code(status)) })
    }

    /// Begins a command that goes on in the background; its job number.
    fn begin(&mut self, example: &Example) -> Result<usize, FaultError> {
        let (out, path) = self.output(&format!("output-{}", self.jobs.len() + 1))?;
        // In the shell's place, so that a signal reaches it and its own exit status is seen.
        let command = format!("exec env {}", example.command.trim_end_matches(" &"));
        let child = self.shell(&Example { command, ..example.clone() }, BACKGROUND_SECONDS, out)?;
        self.jobs.push(Some((child, path)));
        Ok(self.jobs.len())
    }

    fn so_far(&mut self, job: usize) -> Result<Outcome, FaultError> {
        let Some(Some((child, path))) = self.jobs.get_mut(job.saturating_sub(1)) else {
            return Err(io::Error::other(format!("there is no job {job}")).into());
        };
        let exit = child.try_wait()?.map(code);
        let path = path.clone();
        Ok(Outcome { text: self.read(&path)?, exit })
    }

    /// Asks a job to end, and waits for it.
    async fn stop(&mut self, job: usize) -> Result<Outcome, FaultError> {
        let job = self.jobs.get_mut(job.saturating_sub(1)).and_then(Option::take);
        let Some((mut child, _)) = job else {
            return Ok(Outcome { text: "there is no such job\n".to_owned(), exit: Some(1) });
        };
        if let Some(pid) = child.id() {
            Command::new("kill").arg(pid.to_string()).status().await?;
        }
        let exit = code(child.wait().await?);
        Ok(Outcome { text: String::new(), exit: Some(exit) })
    }

    /// A command in the page's shell. `timeout` ends all that it started, too.
    fn shell(&self, example: &Example, seconds: &str, out: fs::File) -> io::Result<Child> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.shell.clone()).chain(std::env::split_paths(&path));
        Command::new("timeout")
            .args(["--kill-after=5", seconds, "bash", "-c", SHELL])
            .env_clear()
            .env("PATH", std::env::join_paths(folders).map_err(io::Error::other)?)
            .env("HOME", self.place.room())
            .env("LC_ALL", "C.UTF-8")
            .env("EVOKE_LISTEN", self.address())
            .env("PAGE_SHELL", &self.shell)
            .env("PAGE_COMMAND", example.command.replace(SAID, &self.address()))
            .current_dir(self.place.room())
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
    }

    fn output(&self, name: &str) -> io::Result<(fs::File, PathBuf)> {
        let path = self.shell.join(name);
        Ok((fs::File::create(&path)?, path))
    }

    /// An output as the page would show it.
    fn read(&self, path: &Path) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(path)?).replace(&self.address(), SAID))
    }

    /// Ends what still runs, and the hub, which must end clean.
    async fn end(mut self, is_good: bool) -> Result<(), FaultError> {
        for job in 1..=self.jobs.len() {
            self.stop(job).await?;
        }
        let ended = match self.hub.take() {
            Some(hub) => hub.stop().await,
            None => Ok(()),
        };
        if is_good && ended.is_ok() {
            self.place.done();
        }
        ended
    }
}

// === impl Outcome ===

impl Outcome {
    fn is_wanted(&self, example: &Example) -> bool {
        let is_ended_well = match self.exit {
            Some(exit) => exit == example.exit,
            None => example.is_in_the_background(),
        };
        is_ended_well && (example.wanted.is_empty() || is_as_wanted(&example.wanted, &self.text))
    }
}

// === impl Difference ===

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { page, example, got, status } = self;
        let wanted = example.wanted.join("\n");
        writeln!(f, "{page}:{}: the example differs", example.line)?;
        writeln!(f, "$ {}", example.command)?;
        writeln!(f, "--- wanted (exit status {})\n{wanted}", example.exit)?;
        write!(f, "--- got (exit status {status})\n{}", got.trim_end())
    }
}

/// The exit status as a shell has it.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
