//! A data directory that forgets what was not synced: builds the preload library, prepares its side directory, audits it.
//!
//! The library (`tests/powercut/powercut.c`) keeps the durable picture; `cut` decides what the disk kept.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{MetadataExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{
    cut::{self, Cut, Loss},
    picture::{Entry, Picture},
};

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/powercut/powercut.c");

/// What else the library does for one run of the program.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Also keep what the calls seen add up to, so that `audit` can compare. Slower.
    pub audit: bool,
    /// Syncs that say yes and do nothing: `1` for all, else those of paths that contain this.
    pub drop_sync: Option<String>,
    /// Each sync takes so much longer, as on a slow disk: more kills fall into one.
    pub slow_sync: Duration,
    /// Kills the program as it begins its n-th sync.
    pub kill_at_sync: Option<u32>,
}

/// One data directory under watch.
#[derive(Debug)]
pub struct PowerCut {
    library: PathBuf,
    data: PathBuf,
    side: PathBuf,
    watch: Watch,
}

impl PowerCut {
    /// Builds the library and takes what is in `data` now as durable.
    ///
    /// # Errors
    /// No C compiler, or what the files say.
    pub fn new(data: &Path, side: &Path, watch: Watch) -> io::Result<Self> {
        fs::create_dir_all(data)?;
        fs::create_dir_all(side)?;
        let library = compile(Path::new(SOURCE), &["-shared", "-fPIC"])?;
        let (data, side) = (data.canonicalize()?, side.canonicalize()?);
        let this = Self { library, data, side, watch };
        this.prepare()?;
        Ok(this)
    }

    /// Takes what is in the data directory now as durable. The program must not run.
    ///
    /// # Errors
    /// What the files say.
    pub fn prepare(&self) -> io::Result<()> {
        let live = Picture::of_live(&self.data)?;
        for kept in if self.watch.audit { ["durable", "seen"].as_slice() } else { &["durable"] } {
            let kept = self.side.join(kept);
            remove_tree(&kept)?;
            fs::create_dir_all(kept.join("inodes"))?;
            fs::create_dir_all(kept.join("sizes"))?;
            for (file, path) in &live.files {
                cut::copy_sparse(path, &kept.join("inodes").join(file))?;
            }
            for (dir, names) in &live.dirs {
                let dir = kept.join("dirs").join(dir);
                fs::create_dir_all(&dir)?;
                for (name, entry) in names {
                    match entry {
                        Entry::File(id) => {
                            fs::hard_link(kept.join("inodes").join(id), dir.join(name))?
                        }
                        Entry::Dir(id) => symlink(format!("dir:{id}"), dir.join(name))?,
                        Entry::Link(to) => {
                            let mut text = OsString::from("link:");
                            text.push(to);
                            symlink(text, dir.join(name))?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The variables that put a program under watch.
    #[must_use]
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut all = vec![
            ("LD_PRELOAD", self.library.clone().into_os_string()),
            ("POWERCUT_DATA", self.data.clone().into_os_string()),
            ("POWERCUT_SIDE", self.side.clone().into_os_string()),
        ];
        if self.watch.audit {
            all.push(("POWERCUT_AUDIT", "1".into()));
        }
        let slow = self.watch.slow_sync.as_micros().to_string();
        all.push(("POWERCUT_SLOW_SYNC", slow.into()));
        if let Some(number) = self.watch.kill_at_sync {
            all.push(("POWERCUT_KILL_AT_SYNC", number.to_string().into()));
        }
        if let Some(part) = &self.watch.drop_sync {
            all.push(("POWERCUT_DROP_SYNC", part.into()));
        }
        all
    }

    /// Does this process run with the library? One that executed another program does so no more.
    #[must_use]
    pub fn watches(&self, pid: u32) -> bool {
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
        self.library.to_str().is_some_and(|library| maps.contains(library))
    }

    /// Why the library stopped the program, where it did.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        fs::read_to_string(self.side.join("refused")).ok()
    }

    /// The power goes: rebuilds the data directory as a disk may have kept it, and takes that as durable.
    /// The program must be dead.
    ///
    /// # Errors
    /// What the files say.
    pub fn cut(&self, loss: Loss) -> io::Result<Cut> {
        let root = fs::metadata(&self.data)?.ino().to_string();
        let live = Picture::of_live(&self.data)?;
        let durable = Picture::of_kept(&self.side.join("durable"))?;
        let built = self.side.join("built");
        remove_tree(&built)?;
        let report = cut::build(&root, &live, &durable, loss, &built)?;
        for item in fs::read_dir(&self.data)? {
            remove_tree(&item?.path())?;
        }
        for item in fs::read_dir(&built)? {
            let item = item?;
            move_or_copy(&item.path(), &self.data.join(item.file_name()))?;
        }
        self.prepare()?;
        Ok(report)
    }

    /// Where the data directory is not what the calls seen by the library add up to: each a write past libc, or by
    /// another process. Only after a run with `Watch::audit` that ended at rest.
    ///
    /// # Errors
    /// What the files say.
    pub fn audit(&self) -> io::Result<Vec<String>> {
        let root = fs::metadata(&self.data)?.ino().to_string();
        let live = Picture::of_live(&self.data)?;
        let seen = Picture::of_kept(&self.side.join("seen"))?;
        let mut found = Vec::new();
        let mut todo = vec![(root, PathBuf::new())];
        while let Some((dir, path)) = todo.pop() {
            let (is, was_seen) = (live.names(&dir), seen.names(&dir));
            for name in was_seen.keys().filter(|name| !is.contains_key(*name)) {
                found.push(format!("{} vanished unseen", path.join(name).display()));
            }
            for (name, entry) in is {
                let path = path.join(&name);
                match (&entry, was_seen.get(&name)) {
                    (Entry::File(id), Some(Entry::File(seen_id))) if id == seen_id => {
                        if let Some(what) = differ(live.files.get(id), seen.files.get(id))? {
                            found.push(format!("{}: {what}", path.display()));
                        }
                    }
                    (Entry::Dir(id), Some(other)) if *other == entry => {
                        todo.push((id.clone(), path))
                    }
                    (_, Some(other)) if *other == entry => {}
                    (_, other) => {
                        found.push(format!("{} is {entry:?}, seen {other:?}", path.display()))
                    }
                }
            }
        }
        Ok(found)
    }
}

/// Compiles a C file beside the running test, once for each content.
pub(super) fn compile(source: &Path, flags: &[&str]) -> io::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let beside = test.parent().unwrap_or(Path::new("."));
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    let done = beside.join(format!("{stem}-{}", &blake3::hash(&fs::read(source)?).to_hex()[..16]));
    if done.exists() {
        return Ok(done);
    }
    let draft = tempfile::Builder::new().prefix("compile-").tempdir_in(beside)?;
    let object = draft.path().join("out");
    let built = Command::new("cc")
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror"])
        .args(flags)
        .arg("-o")
        .args([&object, source])
        .output()?;
    if !built.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&built.stderr).into_owned()));
    }
    fs::rename(object, &done)?;
    Ok(done)
}

fn differ(live: Option<&PathBuf>, seen: Option<&PathBuf>) -> io::Result<Option<String>> {
    let (Some(live), Some(seen)) = (live, seen) else {
        return Ok(Some("content is missing".into()));
    };
    let (live, seen) = (fs::read(live)?, fs::read(seen)?);
    if live.len() != seen.len() {
        return Ok(Some(format!("{} bytes long, seen {}", live.len(), seen.len())));
    }
    let at = live.iter().zip(&seen).position(|(a, b)| a != b);
    Ok(at.map(|at| format!("byte {at} was written unseen")))
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The side directory may be on another file system than the data directory.
fn move_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let done = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
            if done.success() { Ok(()) } else { Err(error) }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Output};

    use super::*;

    const SUBJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/powercut/subject.c");

    struct Bench {
        room: tempfile::TempDir,
        subject: PathBuf,
        disk: PowerCut,
    }

    impl Bench {
        fn new() -> Self {
            Self::watched(Watch::default())
        }

        fn watched(watch: Watch) -> Self {
            let room = tempfile::tempdir().expect("a directory");
            let disk = PowerCut::new(&room.path().join("data"), &room.path().join("side"), watch)
                .expect("prepared");
            let subject = compile(Path::new(SUBJECT), &["-pthread"]).expect("compiled");
            Self { room, subject, disk }
        }

        fn start(&self, script: &str) -> Output {
            Command::new(&self.subject)
                .args(script.split_whitespace())
                .current_dir(self.room.path().join("data"))
                .envs(self.disk.environment())
                .output()
                .expect("started")
        }

        /// Runs the words, then kills.
        fn run(&self, script: &str) {
            let out = self.start(&format!("{script} kill"));
            assert_eq!(
                out.status.signal(),
                Some(9),
                "{script}: {}",
                String::from_utf8_lossy(&out.stderr)
            );
        }

        /// What is there: `name=content`, directories as `name/`, sorted.
        fn holds(&self) -> String {
            let mut all = Vec::new();
            let data = self.room.path().join("data");
            let mut todo = vec![data.clone()];
            while let Some(dir) = todo.pop() {
                for item in fs::read_dir(dir).expect("readable") {
                    let path = item.expect("readable").path();
                    let name = path.strip_prefix(&data).expect("below").display().to_string();
                    if path.is_symlink() {
                        all.push(format!("{name}@"));
                    } else if path.is_dir() {
                        all.push(format!("{name}/"));
                        todo.push(path);
                    } else {
                        all.push(format!("{name}={}", fs::read_to_string(&path).expect("text")));
                    }
                }
            }
            all.sort();
            all.join(" ")
        }
    }

    /// After `script`, a kill and a power cut that loses all it may, `expect` is left.
    #[track_caller]
    fn check(script: &str, expect: &str) {
        let bench = Bench::new();
        bench.run(script);
        bench.disk.cut(Loss::All).expect("cut");
        assert_eq!(bench.holds(), expect, "{script}");
    }

    /// The same on a directory in which `before` was synced.
    #[track_caller]
    fn check_after(before: &str, script: &str, expect: &str) {
        let bench = Bench::new();
        bench.run(before);
        bench.disk.prepare().expect("prepared");
        bench.run(script);
        bench.disk.cut(Loss::All).expect("cut");
        assert_eq!(bench.holds(), expect, "{before} | {script}");
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_goes() {
        check("write a 0 one sync a syncdir . write a 3 two", "a=one");
        check("write a 0 one sync a syncdir . write a 0 two sync a", "a=two");
        check("write a 0 one syncdir .", "a=");
        check("append a one append a two sync a syncdir . append a three", "a=onetwo");
        check("syncdir . dsync a one syncdir . append a two", "a=one");
        check("through-dup a hello sync a syncdir . through-dup a J", "a=hello");
        check("syscall a hello sync a syncdir .", "a=hello");
        check_after("write a 0 hello", "write a 1 ipp", "a=hello");
    }

    #[test]
    fn a_name_needs_its_directory_synced() {
        check("write a 0 one sync a", "");
        check("mkdir d write d/a 0 one sync d/a syncdir d", "");
        check("mkdir d write d/a 0 one sync d/a syncdir .", "d/");
        check("mkdir d write d/a 0 one sync d/a syncdir d syncdir .", "d/ d/a=one");
        check("write a 0 one sync a link a b syncdir . link a c", "a=one b=one");
        check("symlink a s syncdir . symlink a t", "s@");
        check("nameless a one", "");
        check("nameless a one syncdir .", "a=one");
    }

    #[test]
    fn a_rename_without_its_directory_is_undone() {
        check_after("write a 0 one", "rename a b", "a=one");
        check_after("write a 0 one", "rename a b syncdir .", "b=one");
        check_after("write a 0 old", "write t 0 new sync t rename t a", "a=old");
        check_after("write a 0 old", "write t 0 new sync t rename t a syncdir .", "a=new");
        check_after("write a 0 old", "write t 0 new rename t a syncdir .", "a=");
        check_after("mkdir d write d/a 0 one", "rename d e", "d/ d/a=one");
        check_after("mkdir d write d/a 0 one", "rename d e syncdir .", "e/ e/a=one");
    }

    #[test]
    fn an_unlink_without_its_directory_is_undone() {
        check_after("write a 0 one", "unlink a", "a=one");
        check_after("write a 0 one", "unlink a syncdir .", "");
        // The number of the file is used again at once: the old name still leads to the old content.
        check_after("write a 0 one", "unlink a write b 0 two sync b", "a=one");
        check_after(
            "mkdir d write d/a 0 one",
            "unlink d/a rmdir d mkdir e write e/b 0 x",
            "d/ d/a=one",
        );
        check_after("mkdir d", "rmdir d mkdir e syncdir e syncdir .", "e/");
    }

    #[test]
    fn sizes_are_undone() {
        check_after("write a 0 hello", "truncate a 2", "a=hello");
        check_after("write a 0 hello", "truncate a 2 sync a", "a=he");
        check_after("write a 0 hello", "truncate a 2 truncate a 4 sync a", "a=he\0\0");
        check_after("write a 0 hello", "empty a", "a=hello");
        check_after("write a 0 hello", "empty a write a 0 J sync a", "a=J");
        check_after("write a 0 hello", "reserve a 8", "a=hello");
        check_after("write a 0 hello", "reserve a 8 sync a write a 5 x", "a=hello\0\0\0");
        check_after("write a 0 hello", "punch a 0 2 sync a", "a=\0\0llo");
        check_after("write a 0 hello", "punch a 0 2", "a=hello");
    }

    #[test]
    fn bytes_that_the_kernel_moves_are_seen() {
        check_after(
            "write a 0 hello",
            "copy a b sync b sendfile a c sync c syncdir .",
            "a=hello b=hello c=hello",
        );
        check_after("write a 0 hello", "copy a b sendfile a c syncdir .", "a=hello b= c=");
    }

    #[test]
    fn what_another_process_wrote_is_not_durable() {
        check("child a one syncdir .", "a=");
    }

    #[test]
    fn nothing_synced_from_many_threads_is_lost() {
        let bench = Bench::new();
        bench.run("write a 0 x syncdir . threads a");
        for loss in [Loss::All, Loss::Some(1), Loss::Some(2)] {
            bench.disk.cut(loss).expect("cut");
            assert_eq!(bench.holds().lines().filter(|line| line.contains("....")).count(), 800);
        }
    }

    #[test]
    fn some_sectors_of_a_write_are_lost_and_none_that_was_synced() {
        let (mut torn, mut all, mut none) = (0, 0, 0);
        for seed in 0..40 {
            let bench = Bench::new();
            bench.run("fill a 0 20000 o sync a syncdir . fill a 4096 8192 n");
            let report = bench.disk.cut(Loss::Some(seed)).expect("cut");
            let data = fs::read(bench.room.path().join("data/a")).expect("there");
            assert_eq!(data.len(), 20000);
            assert!(
                data.iter().take(4096).chain(data.iter().skip(12288)).all(|byte| *byte == b'o')
            );
            let mut lost = 0;
            for sector in data.chunks(512).skip(8).take(16) {
                assert!(
                    sector.iter().all(|byte| Some(byte) == sector.first()),
                    "sectors are whole"
                );
                lost += usize::from(sector.first() == Some(&b'o'));
            }
            assert_eq!(report.sectors_lost > 0, lost > 0);
            match lost {
                0 => none += 1,
                16 => all += 1,
                _ => torn += 1,
            }
        }
        assert!(torn > 5 && all > 3 && none > 3, "torn {torn}, all lost {all}, none {none}");
    }

    #[test]
    fn a_size_that_was_set_is_one_step_and_one_that_was_written_to_is_not() {
        let sizes = |script: &str| -> std::collections::BTreeSet<u64> {
            let cut = |seed| {
                let bench = Bench::new();
                bench.run(&format!("fill a 0 100 o sync a syncdir . {script}"));
                bench.disk.cut(Loss::Some(seed)).expect("cut");
                fs::metadata(bench.room.path().join("data/a")).expect("there").len()
            };
            (0..20).map(cut).collect()
        };
        assert_eq!(sizes("truncate a 5000"), [100, 5000].into());
        assert_eq!(sizes("reserve a 5000 truncate a 50"), [50, 100, 5000].into());
        assert_eq!(sizes("truncate a 5000 sync a"), [5000].into());
        let written = sizes("fill a 100 4900 n");
        assert!(
            written.len() > 3 && written.iter().all(|size| (100..=5000).contains(size)),
            "{written:?}"
        );
    }

    #[test]
    fn by_chance_a_rename_is_done_or_not_but_no_file_is_lost() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..20 {
            let bench = Bench::new();
            bench.run("write a 0 one sync a syncdir .");
            bench.disk.prepare().expect("prepared");
            bench.run("rename a b write t 0 two sync t rename t a");
            bench.disk.cut(Loss::Some(seed)).expect("cut");
            seen.insert(bench.holds());
        }
        let seen: Vec<_> = seen.iter().map(String::as_str).collect();
        assert_eq!(seen, ["a=one", "a=two b=one"]);
    }

    #[test]
    fn the_same_seed_cuts_the_same() {
        let cut = |seed| {
            let bench = Bench::new();
            bench.run("fill a 0 9000 o sync a syncdir . fill a 0 9000 n fill b 0 3000 m");
            let report = bench.disk.cut(Loss::Some(seed)).expect("cut");
            (report, bench.holds())
        };
        assert_eq!(cut(7), cut(7));
        assert!((0..10).any(|seed| cut(seed) != cut(7)));
    }

    #[test]
    fn a_kill_at_a_sync_leaves_it_undone() {
        let script = "write a 0 one sync a syncdir . write a 0 two sync a write a 0 six sync a";
        for (number, expect) in [(1, ""), (2, ""), (3, "a=one"), (4, "a=two")] {
            let bench = Bench::watched(Watch { kill_at_sync: Some(number), ..Watch::default() });
            assert_eq!(bench.start(script).status.signal(), Some(9));
            bench.disk.cut(Loss::All).expect("cut");
            assert_eq!(bench.holds(), expect, "{number}");
        }
    }

    #[test]
    fn a_sync_taken_out_keeps_nothing() {
        for (drop_sync, expect) in
            [("1", ""), ("/d/", "a=one d/ d/b="), ("/elsewhere", "a=one d/ d/b=two")]
        {
            let watch = Watch { drop_sync: Some(drop_sync.into()), ..Watch::default() };
            let bench = Bench::watched(watch);
            bench.run("write a 0 one sync a mkdir d write d/b 0 two sync d/b syncdir d syncdir .");
            bench.disk.cut(Loss::All).expect("cut");
            assert_eq!(bench.holds(), expect, "{drop_sync}");
        }
    }

    #[test]
    fn what_cannot_be_followed_is_refused_loudly() {
        for (script, why) in [
            ("write a 0 one mmap a", "mmap shared and writable"),
            ("fopen a", "stdio"),
            ("io_uring", "io_uring_setup"),
        ] {
            let bench = Bench::new();
            let out = bench.start(script);
            assert_eq!(out.status.signal(), Some(6), "{script}");
            let refused = bench.disk.refused().expect("said");
            assert!(refused.contains(why), "{script}: {refused}");
        }
    }

    #[test]
    fn the_audit_finds_each_write_past_libc_and_nothing_else() {
        let seen = "write a 0 hello append a two through-dup b xyz fill c 0 70000 z mkdir d link a d/l rename b d/b \
                    truncate c 5 reserve c 100 punch c 0 2 symlink a s syscall e one empty e nameless f one \
                    copy a g sendfile a h mkdir x rmdir x write i 0 x rename i a unlink g threads j rename d k";
        for (past, found) in [
            ("", ""),
            ("past-write z one", "z: 3 bytes long, seen 0"),
            ("past-write a J", "a: byte 0 was written unseen"),
            ("past-truncate a 0", "a: 0 bytes long, seen 1"),
            ("past-mkdir n", "n is Dir"),
            ("past-unlink h", "h vanished unseen"),
            ("child m one", "m is File"),
        ] {
            let bench = Bench::watched(Watch { audit: true, ..Watch::default() });
            let out = bench.start(&format!("{seen} {past}"));
            assert!(out.status.success(), "{past}: {}", String::from_utf8_lossy(&out.stderr));
            let audit = bench.disk.audit().expect("readable");
            assert_eq!(audit.len(), usize::from(!past.is_empty()), "{past}: {audit:?}");
            assert!(audit.iter().all(|line| line.starts_with(found)), "{past}: {audit:?}");
        }
    }
}
