//! Noticing that files were saved: their folders are watched, since editors put a new file in the
//! place of the old one.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, CreateKind, ModifyKind},
};
use tokio::sync::Notify;

use crate::error::CliError;

/// Files whose change matters; read by the watcher's thread.
#[derive(Debug, Default)]
struct Shared {
    files: Mutex<BTreeSet<PathBuf>>,
    changed: Notify,
}

#[derive(Debug)]
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    shared: Arc<Shared>,
}

impl Watch {
    /// A watch of nothing yet.
    pub(super) fn new() -> Result<Self, CliError> {
        let shared = Arc::<Shared>::default();
        let noticed = Arc::clone(&shared);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Where events were lost, anything may have changed.
            if event.map_or(true, |event| noticed.matters(&event)) {
                noticed.changed.notify_one();
            }
        });
        let watcher = watcher.map_err(|error| CliError::Local {
            what: "watch the folder".to_owned(),
            source: io::Error::other(error),
        })?;
        Ok(Self { watcher, folders: BTreeSet::new(), shared })
    }

    /// Watches these files from now on, those too that are not there yet.
    pub(super) fn follow(&mut self, files: &[PathBuf]) {
        let files: BTreeSet<PathBuf> = files.iter().map(|file| whole(file)).collect();
        let folders: BTreeSet<PathBuf> = files.iter().filter_map(|file| near(file)).collect();
        *self.shared.files.lock().unwrap_or_else(PoisonError::into_inner) = files;
        for former in self.folders.difference(&folders) {
            // It may be gone, and its watch with it.
            let _ended = self.watcher.unwatch(former).is_ok();
        }
        // All of them each time: one may have gone and come again. One that cannot be watched is
        // tried again at the next change of another.
        self.folders = folders
            .into_iter()
            .filter(|folder| self.watcher.watch(folder, RecursiveMode::NonRecursive).is_ok())
            .collect();
    }

    /// Returns once something was saved that nobody was told of yet.
    pub(super) async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

impl Shared {
    /// Whether a file that matters is whole again, gone, or may be there now. What is being written
    /// is not: half a function would be applied.
    fn matters(&self, event: &notify::Event) -> bool {
        let is_whole = matches!(
            event.kind,
            EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Create(CreateKind::Folder)
                | EventKind::Remove(_)
        );
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = |path: &PathBuf| {
            files.iter().any(|file| file.starts_with(path) || path.starts_with(file))
        };
        event.need_rescan() || (is_whole && event.paths.iter().any(is_ours))
    }
}

/// The path from the root, as the watcher will name it.
fn whole(file: &Path) -> PathBuf {
    let from_root = std::path::absolute(file).unwrap_or_else(|_unknown| file.to_owned());
    let Some(folder) = near(&from_root) else { return from_root };
    let Ok(real) = std::fs::canonicalize(&folder) else { return from_root };
    match from_root.strip_prefix(&folder) {
        Ok(rest) => real.join(rest),
        Err(_elsewhere) => from_root,
    }
}

/// The nearest folder above that is there.
fn near(file: &Path) -> Option<PathBuf> {
    file.ancestors().skip(1).find(|folder| folder.is_dir()).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    /// Longest wait for what the system tells at once.
    const LONG: Duration = Duration::from_secs(20);

    async fn seen(watch: &Watch, what: &str) {
        tokio::time::timeout(LONG, watch.changed()).await.expect(what);
    }

    #[tokio::test]
    async fn saves_are_seen_however_they_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.js");
        let deep = folder.path().join("more/b.js");
        fs::write(&file, "1").unwrap();
        let mut watch = Watch::new().unwrap();
        watch.follow(&[file.clone(), deep.clone()]);
        fs::write(&file, "2").unwrap();
        seen(&watch, "written over").await;
        fs::write(folder.path().join("temporary"), "3").unwrap();
        fs::rename(folder.path().join("temporary"), &file).unwrap();
        seen(&watch, "renamed to").await;
        fs::create_dir(deep.parent().unwrap()).unwrap();
        seen(&watch, "its folder made").await;
        watch.follow(&[file.clone(), deep.clone()]);
        fs::write(&deep, "1").unwrap();
        seen(&watch, "made").await;
        fs::remove_file(&file).unwrap();
        seen(&watch, "removed").await;
    }

    #[test]
    fn other_files_and_half_written_ones_do_not_matter() {
        let shared = Shared::default();
        shared.files.lock().unwrap().insert("/p/actions/a.js".into());
        let matters =
            |kind, path: &str| shared.matters(&notify::Event::new(kind).add_path(path.into()));
        let saved = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(matters(saved, "/p/actions/a.js"));
        assert!(!matters(saved, "/p/actions/b.js"));
        shared.files.lock().unwrap().insert("/p/app".into());
        assert!(matters(saved, "/p/app/new.js"));
        assert!(matters(EventKind::Create(CreateKind::Folder), "/p/actions"));
        assert!(!matters(EventKind::Create(CreateKind::File), "/p/actions/a.js"));
        assert!(!matters(EventKind::Modify(ModifyKind::Any), "/p/actions/a.js"));
    }
}
