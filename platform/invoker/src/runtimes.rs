//! Which of the manifest's kinds this machine can serve, and with what.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use evoke_sandbox::{Network, PlacedFile, SandboxSpec, Shown};
use serde::Serialize;
use tokio::process::Command;

use crate::{
    config::Config,
    manifest::{Family, Kind, LAUNCHERS, Manifest, ManifestError},
    pool::Shape,
    run::PlatformFailure,
};

/// Folder of the launcher inside a sandbox.
const LAUNCHER_FOLDER: &str = "/evoke";
/// Longest wait for an interpreter to tell its version.
const VERSION_WAIT: Duration = Duration::from_secs(10);
/// Memory limit that stands for a usual share of the processor; others get more or less.
/// Source: OpenWhisk's `--cpu-shares` (spec 5.6). Unit: MB.
const USUAL_MEMORY_MB: u64 = 256;
/// The usual share.
const USUAL_WEIGHT: u64 = 100;
/// The host's directories that every sandbox shows anyway.
const SHOWN_ANYWAY: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib64"];

/// An interpreter of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interpreter {
    /// Where it is, links resolved.
    pub path: PathBuf,
    /// What it says of itself, `20.20.2` for one.
    pub version: String,
}

/// What serves a kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeReport {
    /// The kind.
    pub kind: String,
    /// Whether `family:default` means it.
    pub default: bool,
    /// Whether it is no longer to be used.
    pub deprecated: bool,
    /// What serves it; none where nothing was found.
    pub interpreter: Option<Interpreter>,
    /// Where was looked.
    pub looked_for: Vec<PathBuf>,
}

/// The kinds, with what serves each.
#[derive(Debug)]
pub struct Runtimes {
    manifest: Manifest,
    runtimes: Vec<Runtime>,
}

/// One kind.
#[derive(Debug)]
pub(crate) struct Runtime {
    report: RuntimeReport,
    arguments: Vec<String>,
    launcher: Option<Launcher>,
    /// What a dying interpreter says when its own memory bound was reached.
    pub(crate) exhausted: Option<String>,
    stems: Vec<(u64, usize)>,
}

#[derive(Clone, Debug)]
struct Launcher {
    file: String,
    content: Arc<[u8]>,
}

// === impl Runtimes ===

impl Runtimes {
    /// Looks for the interpreters of every kind.
    ///
    /// # Errors
    /// The manifest or a launcher that it names cannot be read. A missing interpreter is no error
    /// here: its kinds are known and cannot run.
    pub async fn discover(config: &Config) -> Result<Self, ManifestError> {
        let manifest = match &config.manifest {
            None => Manifest::built_in()?,
            Some(path) => Manifest::of_file(path)?,
        };
        let candidates: BTreeSet<PathBuf> =
            manifest.kinds().flat_map(|(family, kind)| candidates(config, family, kind)).collect();
        let found = futures::future::join_all(candidates.into_iter().map(examine)).await;
        let found: BTreeMap<_, _> = found.into_iter().flatten().collect();
        let mut runtimes = Vec::new();
        for (family, kind) in manifest.kinds() {
            let launcher = family.launcher.as_deref().map(load_launcher).transpose()?;
            runtimes.push(runtime(config, family, kind, launcher, &found)?);
        }
        Ok(Self { manifest, runtimes })
    }

    /// The manifest they are of.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What serves each kind.
    #[must_use]
    pub fn report(&self) -> Vec<RuntimeReport> {
        self.runtimes.iter().map(|runtime| runtime.report.clone()).collect()
    }

    /// The index of a kind that can run here.
    pub(crate) fn servable(&self, kind: &str) -> Result<usize, PlatformFailure> {
        let found = self.runtimes.iter().position(|runtime| runtime.report.kind == kind);
        let unknown =
            || PlatformFailure::UnknownKind { kind: kind.to_owned(), known: self.manifest.known() };
        let index = found.ok_or_else(unknown)?;
        let runtime = self.runtimes.get(index).ok_or_else(unknown)?;
        if runtime.is_servable() {
            return Ok(index);
        }
        let looked_for: Vec<_> =
            runtime.report.looked_for.iter().map(|path| path.display().to_string()).collect();
        Err(PlatformFailure::NoInterpreter {
            kind: kind.to_owned(),
            looked_for: looked_for.join(", "),
        })
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Runtime> {
        self.runtimes.get(index)
    }

    /// Sandboxes to keep started, for kinds that can run.
    pub(crate) fn stems(&self) -> Vec<(Shape, usize)> {
        let servable = self.runtimes.iter().enumerate().filter(|(_, it)| it.is_servable());
        servable
            .flat_map(|(kind, runtime)| {
                runtime.stems.iter().map(move |(memory_mb, count)| {
                    (Shape { kind, memory_mb: *memory_mb, egress: true }, *count)
                })
            })
            .collect()
    }
}

// === impl Runtime ===

impl Runtime {
    fn is_servable(&self) -> bool {
        self.report.interpreter.is_some() && self.launcher.is_some()
    }

    /// The sandbox that runs this kind; none where it cannot run.
    pub(crate) fn spec(&self, name: String, shape: Shape, config: &Config) -> Option<SandboxSpec> {
        let interpreter = self.report.interpreter.as_ref()?;
        let launcher = self.launcher.as_ref()?;
        let program = interpreter.path.to_str()?;
        let inside = format!("{LAUNCHER_FOLDER}/{}", launcher.file);
        let memory75 = (shape.memory_mb * 3 / 4).to_string();
        let arguments =
            self.arguments.iter().map(|argument| argument.replace("{memory75}", &memory75));
        Some(SandboxSpec {
            name,
            argv: std::iter::once(program.to_owned())
                .chain(arguments)
                .chain([inside.clone()])
                .collect(),
            env: Vec::new(),
            read_only: shown(&interpreter.path).into_iter().collect(),
            files: vec![PlacedFile {
                path: inside.into(),
                content: launcher.content.to_vec(),
                executable: false,
            }],
            memory_bytes: shape.memory_mb << 20,
            pids: config.pids,
            cpu_weight: (shape.memory_mb * USUAL_WEIGHT / USUAL_MEMORY_MB).clamp(1, 10_000),
            // Files in `/tmp` count as memory: a full disk shall not be a full memory.
            tmp_bytes: config.tmp_mb.min(shape.memory_mb / 2) << 20,
            network: if shape.egress { Network::Egress } else { Network::None },
            workdir: "/tmp".into(),
        })
    }
}

fn runtime(
    config: &Config,
    family: &Family,
    kind: &Kind,
    launcher: Option<Launcher>,
    found: &BTreeMap<PathBuf, Interpreter>,
) -> Result<Runtime, ManifestError> {
    let looked_for = candidates(config, family, kind);
    let there = || looked_for.iter().filter_map(|path| found.get(path));
    let own = config.interpreters.get(&kind.kind).and_then(|path| found.get(path));
    let best = own.or_else(|| there().find(|it| is_version(&it.version, &kind.version)));
    let interpreter = best.or_else(|| there().next()).cloned();
    let stems = kind.stem_cells.iter().map(|cell| Ok((cell.memory_mb(&kind.kind)?, cell.count)));
    Ok(Runtime {
        arguments: family.arguments.clone(),
        launcher,
        exhausted: family.exhausted.clone(),
        stems: stems.collect::<Result<_, ManifestError>>()?,
        report: RuntimeReport {
            kind: kind.kind.clone(),
            default: kind.default || family.kinds.len() == 1,
            deprecated: kind.deprecated,
            interpreter,
            looked_for,
        },
    })
}

fn candidates(config: &Config, family: &Family, kind: &Kind) -> Vec<PathBuf> {
    let own = config.interpreters.get(&kind.kind).cloned();
    own.into_iter().chain(family.interpreters.iter().map(PathBuf::from)).collect()
}

/// Whether `20.20.2` is of version `20`: part by part.
fn is_version(found: &str, wanted: &str) -> bool {
    let mut parts = found.split('.');
    wanted.split('.').all(|part| parts.next() == Some(part))
}

async fn examine(candidate: PathBuf) -> Option<(PathBuf, Interpreter)> {
    let path = tokio::fs::canonicalize(&candidate).await.ok()?;
    let mut command = Command::new(&path);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(VERSION_WAIT, command.output()).await.ok()?.ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = parse_version(&text)?;
    Some((candidate, Interpreter { path, version }))
}

/// The first word that is a version: of `v20.20.2`, `Python 3.11.2`, `… subversion 0 (v5.36.0) built for …`,
/// `GNU bash, version 5.2.15(1)-release`.
fn parse_version(text: &str) -> Option<String> {
    text.split_whitespace().find_map(|word| {
        let word = word.trim_start_matches(['(', 'v']);
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let version = word.get(..end)?;
        let is_version = version.starts_with(|first: char| first.is_ascii_digit());
        (is_version && version.contains('.')).then(|| version.to_owned())
    })
}

/// What a sandbox must show besides the system's own directories: the folder above `bin`.
fn shown(interpreter: &Path) -> Option<Shown> {
    if SHOWN_ANYWAY.iter().any(|folder| interpreter.starts_with(folder)) {
        return None;
    }
    let folder = interpreter.parent()?;
    let root = if folder.ends_with("bin") { folder.parent()? } else { folder };
    Some(Shown { host: root.to_owned(), inside: root.to_owned() })
}

fn load_launcher(name: &str) -> Result<Launcher, ManifestError> {
    if let Some((_, content)) = LAUNCHERS.iter().find(|(known, _)| *known == name) {
        return Ok(Launcher { file: name.to_owned(), content: content.as_bytes().into() });
    }
    let path = Path::new(name);
    let file = path.file_name().map_or(name.into(), |file| file.to_string_lossy());
    Ok(Launcher { file: file.into_owned(), content: read_text(path)?.into_bytes().into() })
}

pub(crate) fn read_text(path: &Path) -> Result<String, ManifestError> {
    std::fs::read_to_string(path)
        .map_err(|source| ManifestError::Read { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_parts() {
        assert!(is_version("20.20.2", "20"));
        assert!(is_version("3.11.2", "3.11"));
        assert!(!is_version("3.1.2", "3.11"));
        assert!(!is_version("3.11", "3.1"));
        assert!(!is_version("2", "20"));
        assert_eq!(parse_version("v20.20.2\n").as_deref(), Some("20.20.2"));
        assert_eq!(parse_version("Python 3.11.2\n").as_deref(), Some("3.11.2"));
        let perl = "This is perl 5, version 36, subversion 0 (v5.36.0) built for x86_64";
        assert_eq!(parse_version(perl).as_deref(), Some("5.36.0"));
        let bash = "GNU bash, version 5.2.15(1)-release (x86_64-pc-linux-gnu)\nCopyright 2022";
        assert_eq!(parse_version(bash).as_deref(), Some("5.2.15"));
        assert_eq!(parse_version("command not found"), None);
    }

    #[test]
    fn an_interpreter_outside_the_system_brings_its_folder() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(shown(Path::new(path)).map(|it| it.inside), expected.map(PathBuf::from));
        };
        check("/usr/bin/node", None);
        check("/opt/node-22/bin/node", Some("/opt/node-22"));
        check("/srv/python", Some("/srv"));
    }

    #[tokio::test]
    async fn the_interpreter_of_the_right_version_serves_and_else_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let fake = |name: &str, version: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho v{version}\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&path, mode).unwrap();
            path
        };
        let (old, new) = (fake("old", "18.1.0"), fake("new", "22.2.0"));
        let image = r#"{"prefix":"p","name":"n","tag":"t"}"#;
        let manifest = folder.path().join("manifest.json");
        let text = format!(
            r#"{{"families": {{"nodejs": {{"launcher": "nodejs.js", "interpreters": ["/nowhere", {old:?}, {new:?}],
                "kinds": [
                    {{"kind": "nodejs:18", "version": "18", "image": {image}}},
                    {{"kind": "nodejs:20", "version": "20", "image": {image}, "default": true}},
                    {{"kind": "nodejs:22", "version": "22", "image": {image}}}
                ]}},
                "java": {{"kinds": [{{"kind": "java:8", "requireMain": true, "image": {image}}}]}}
            }}}}"#
        );
        std::fs::write(&manifest, text).unwrap();
        let config = Config { manifest: Some(manifest), ..Config::default() };
        let runtimes = Runtimes::discover(&config).await.unwrap();
        let served: Vec<_> = runtimes
            .report()
            .into_iter()
            .map(|it| (it.kind, it.interpreter.map(|it| it.version)))
            .collect();
        let version = |text: &str| Some(text.to_owned());
        assert_eq!(
            served,
            [
                ("java:8".to_owned(), None),
                ("nodejs:18".to_owned(), version("18.1.0")),
                ("nodejs:20".to_owned(), version("18.1.0")),
                ("nodejs:22".to_owned(), version("22.2.0")),
            ]
        );
        let missing = runtimes.servable("java:8").unwrap_err();
        assert!(matches!(missing, PlatformFailure::NoInterpreter { .. }), "{missing}");
        let unknown = runtimes.servable("cobol:1").unwrap_err().to_string();
        assert!(unknown.contains("known: java:8, nodejs:18"), "{unknown}");
    }
}
