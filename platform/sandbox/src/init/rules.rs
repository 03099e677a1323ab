//! Landlock: a second hand on the file system and on signals, independent of mounts.

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};
use nix::errno::Errno;

use super::{At, Failure};

/// The newest rules asked for; what an older kernel lacks is left out.
const RULES: ABI = ABI::V6;

pub(super) fn apply() -> Result<(), Failure> {
    match try_apply() {
        Ok(()) => Ok(()),
        Err(_) => Err(Errno::EIO).at("landlock"),
    }
}

fn try_apply() -> Result<(), RulesetError> {
    let all = AccessFs::from_all(RULES);
    let read = AccessFs::from_read(RULES);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::from_all(RULES))?
        .create()?;
    let grants: [(&str, BitFlags<AccessFs>); 3] = [("/", read), ("/dev", device), ("/tmp", all)];
    for (path, access) in grants {
        // A path that is not there needs no rule: what is not granted is refused.
        if let Ok(fd) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    rules.restrict_self()?;
    Ok(())
}
