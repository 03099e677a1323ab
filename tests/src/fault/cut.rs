//! What a disk kept when the power went: for each thing not synced, by chance or not at all.
//!
//! A file is decided sector by sector (torn writes) and by its size; a name with all names that share its file, as a
//! rename is one step of every journaling file system. What was synced always stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, symlink},
    path::{Path, PathBuf},
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::picture::{Entry, Names, Picture};

/// What happens to what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it is lost.
    All,
    /// Any part of it is lost; the seed repeats the choice.
    Some(u64),
}

/// What a cut did; counts of what was not synced and of what of it was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Names that differed from their durable state.
    pub names: usize,
    /// Of these, put back.
    pub names_lost: usize,
    /// Sectors and sizes that differed from their durable state.
    pub sectors: usize,
    /// Of these, put back.
    pub sectors_lost: usize,
}

const BLOCK: usize = 1 << 20;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Builds in `out` what the disk kept.
///
/// # Errors
/// What the files say.
pub fn build(
    root: &str,
    live: &Picture,
    durable: &Picture,
    loss: Loss,
    out: &Path,
) -> io::Result<Cut> {
    let mut chance = match loss {
        Loss::All => None,
        Loss::Some(seed) => Some(StdRng::seed_from_u64(seed)),
    };
    let mut report = Cut::default();
    let names = choose_names(live, durable, &mut chance, &mut report);
    let mut placed: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut visited = BTreeSet::new();
    let mut todo = vec![(root.to_owned(), out.to_path_buf())];
    while let Some((dir, path)) = todo.pop() {
        if !visited.insert(dir.clone()) {
            continue;
        }
        fs::create_dir_all(&path)?;
        for (name, entry) in names.get(&dir).into_iter().flatten() {
            let to = path.join(name);
            match entry {
                Entry::Dir(id) => todo.push((id.clone(), to)),
                Entry::Link(target) => symlink(target, to)?,
                Entry::File(id) => {
                    if let Some(first) = placed.get(id) {
                        fs::hard_link(first, &to)?;
                        continue;
                    }
                    let sources = Sources {
                        live: live.files.get(id),
                        durable: durable.files.get(id),
                        set: durable.sizes.get(id).map_or(&[], Vec::as_slice),
                    };
                    sources.mix(&to, &mut chance, &mut report)?;
                    placed.insert(id.clone(), to);
                }
            }
        }
    }
    Ok(report)
}

/// Copies content and mode, holes as holes.
///
/// # Errors
/// What the files say.
pub fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let path = from.to_path_buf();
    let sources = Sources { live: None, durable: Some(&path), set: &[] };
    sources.mix(to, &mut None, &mut Cut::default())
}

type Choice = BTreeMap<String, Names>;

fn choose_names(
    live: &Picture,
    durable: &Picture,
    chance: &mut Option<StdRng>,
    report: &mut Cut,
) -> Choice {
    let mut result = Choice::new();
    let mut differing = Vec::new();
    let dirs: BTreeSet<_> = live.dirs.keys().chain(durable.dirs.keys()).cloned().collect();
    for dir in dirs {
        let (is, was) = (live.names(&dir), durable.names(&dir));
        let all: BTreeSet<_> = is.keys().chain(was.keys()).cloned().collect();
        for name in all {
            if is.get(&name) != was.get(&name) {
                let [is, was] = [is.get(&name).cloned(), was.get(&name).cloned()];
                differing.push(Change { dir: dir.clone(), name, is, was });
            }
        }
        result.insert(dir, was);
    }
    report.names += differing.len();
    for group in groups(&differing, durable) {
        let keep = chance.as_mut().is_some_and(|chance| chance.random_bool(0.5));
        if !keep {
            report.names_lost += group.len();
            continue;
        }
        for change in group {
            let names = result.entry(change.dir.clone()).or_default();
            match &change.is {
                Some(entry) => names.insert(change.name.clone(), entry.clone()),
                None => names.remove(&change.name),
            };
        }
    }
    result
}

struct Change {
    dir: String,
    name: OsString,
    is: Option<Entry>,
    was: Option<Entry>,
}

/// Changes that share a durable file or directory belong to one rename (or a chain of them): all or none.
fn groups<'a>(changes: &'a [Change], durable: &Picture) -> Vec<Vec<&'a Change>> {
    let named: BTreeSet<_> =
        durable.dirs.values().flat_map(Names::values).filter_map(identity).collect();
    let mut groups: Vec<(BTreeSet<String>, Vec<&Change>)> = Vec::new();
    for change in changes {
        let mut ids: BTreeSet<String> =
            [&change.is, &change.was].into_iter().flatten().filter_map(identity).collect();
        ids.retain(|id| named.contains(id));
        let mut members = vec![change];
        groups.retain_mut(|(other, theirs)| {
            let apart = other.is_disjoint(&ids);
            if !apart {
                ids.append(other);
                members.append(theirs);
            }
            apart
        });
        groups.push((ids, members));
    }
    groups.into_iter().map(|(_, members)| members).collect()
}

fn identity(entry: &Entry) -> Option<String> {
    match entry {
        Entry::File(id) => Some(format!("file {id}")),
        Entry::Dir(id) => Some(format!("dir {id}")),
        Entry::Link(_) => None,
    }
}

/// Where a file's written and its durable content stand; one of them at least.
struct Sources<'a> {
    live: Option<&'a PathBuf>,
    durable: Option<&'a PathBuf>,
    /// Sizes it was set to between the two.
    set: &'a [u64],
}

impl Sources<'_> {
    fn mix(&self, to: &Path, chance: &mut Option<StdRng>, report: &mut Cut) -> io::Result<()> {
        let open = |path: Option<&PathBuf>| path.map(File::open).transpose();
        let (live, durable) = (open(self.live)?, open(self.durable)?);
        let out = File::options().write(true).create_new(true).open(to)?;
        let size =
            |file: Option<&File>| file.map_or(Ok(0), |file| file.metadata().map(|meta| meta.len()));
        let was = size(durable.as_ref())?;
        // A file that is gone has only its durable content.
        let is = if live.is_some() { size(live.as_ref())? } else { was };
        let mut fate = Fate::draw(chance);
        let kept = fate.size(is, was, self.set);
        report.sectors += usize::from(is != was);
        report.sectors_lost += usize::from(is != was && kept == was);
        let (mut new, mut old) = (vec![0; BLOCK], vec![0; BLOCK]);
        let mut at = 0;
        while at < kept {
            let n = usize::try_from(kept - at).unwrap_or(BLOCK).min(BLOCK);
            let (Some(new), Some(old)) = (new.get_mut(..n), old.get_mut(..n)) else { break };
            read_zero_padded(durable.as_ref(), old, at)?;
            if live.is_some() {
                read_zero_padded(live.as_ref(), new, at)?;
                fate.settle(new, old, report);
            }
            if Some(&*old) != ZEROS.get(..n) {
                out.write_all_at(old, at)?;
            }
            at += n as u64;
        }
        out.set_len(kept)?;
        if let Some(like) = durable.as_ref().or(live.as_ref()) {
            out.set_permissions(like.metadata()?.permissions())?;
        }
        Ok(())
    }
}

/// How one file's unsynced sectors fare.
struct Fate<'a> {
    chance: Option<&'a mut StdRng>,
    granule: usize,
    /// Chance that a sector was written out.
    written: f64,
}

impl<'a> Fate<'a> {
    fn draw(chance: &'a mut Option<StdRng>) -> Self {
        let Some(chance) = chance.as_mut() else {
            return Self { chance: None, granule: 512, written: 0.0 };
        };
        let granule = if chance.random_bool(0.5) { 512 } else { 4096 };
        let written = [0.0, 0.1, 0.5, 0.9, 1.0].choose(chance).copied().unwrap_or(0.5);
        Self { chance: Some(chance), granule, written }
    }

    /// The file's size: one that it had, or one between where writes made it grow.
    fn size(&mut self, is: u64, was: u64, set: &[u64]) -> u64 {
        let Some(chance) = self.chance.as_mut() else { return was };
        if is == was && set.is_empty() {
            return is;
        }
        let grown_from = set.iter().copied().max().unwrap_or(was).max(was);
        if is > grown_from && chance.random_bool(0.3) {
            return chance.random_range(grown_from..=is);
        }
        let had: Vec<_> = set.iter().copied().chain([was, is]).collect();
        had.choose(chance).copied().unwrap_or(is)
    }

    /// Leaves in `old` what the disk kept of the two.
    fn settle(&mut self, new: &[u8], old: &mut [u8], report: &mut Cut) {
        if new == old {
            return;
        }
        for (new, old) in new.chunks(self.granule).zip(old.chunks_mut(self.granule)) {
            if new == old {
                continue;
            }
            report.sectors += 1;
            if self.chance.as_mut().is_some_and(|chance| chance.random_bool(self.written)) {
                old.copy_from_slice(new);
            } else {
                report.sectors_lost += 1;
            }
        }
    }
}

fn read_zero_padded(file: Option<&File>, into: &mut [u8], at: u64) -> io::Result<()> {
    into.fill(0);
    let Some(file) = file else { return Ok(()) };
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + done as u64)? {
            0 => break,
            n => done += n,
        }
    }
    Ok(())
}
