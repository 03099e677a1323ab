//! The diffs of CONTRIBUTING.md are real: each applies, is one file and one line, and what it adds works.

use std::{
    error::Error,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

type Done = Result<(), Box<dyn Error>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The page's diffs.
fn diffs() -> Result<Vec<String>, Box<dyn Error>> {
    let page = fs::read_to_string(root().join("CONTRIBUTING.md"))?;
    let fences = page.split("\n```diff\n").skip(1);
    Ok(fences.filter_map(|rest| Some(format!("{}\n", rest.split("\n```").next()?))).collect())
}

/// What `git apply` says of a diff in this folder.
fn apply(folder: &Path, words: &[&str], diff: &str) -> Result<(bool, String), Box<dyn Error>> {
    let mut git = Command::new("git")
        .arg("apply")
        .args(words)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = git.stdin.take() {
        input.write_all(diff.as_bytes())?;
    }
    let ended = git.wait_with_output()?;
    Ok((ended.status.success(), String::from_utf8_lossy(&ended.stderr).into_owned()))
}

#[test]
fn each_applies_to_this_tree() -> Done {
    let diffs = diffs()?;
    assert_eq!(diffs.len(), 3, "a runtime, a provider, a store");
    for diff in &diffs {
        let (is_good, said) = apply(&root(), &["--check"], diff)?;
        assert!(is_good, "{said}\nof\n{diff}");
    }
    let (is_good, _) = apply(&root(), &["--check"], &diffs.join("").replace("+++ b/", "+++ b/x"))?;
    assert!(!is_good, "what does not fit is noticed");
    Ok(())
}

/// One new file; of another one line more, and one `mod` line where the file is Rust.
#[test]
fn each_is_one_file_and_one_line() -> Done {
    for diff in diffs()? {
        let parts: Vec<_> = diff.split("diff --git ").skip(1).collect();
        let (new, changed): (Vec<&str>, Vec<&str>) =
            parts.iter().partition(|part| part.contains("\nnew file mode"));
        assert_eq!((new.len(), changed.len()), (1, 1), "{diff}");
        let lines = changed.iter().flat_map(|part| part.lines());
        let lines = lines.filter(|line| !line.starts_with("+++") && !line.starts_with("---"));
        let (mut added, mut declared) = (0, 0);
        for line in lines {
            assert!(!line.starts_with('-'), "nothing is taken away: {line}");
            let is_declared = line.starts_with("+mod ") || line.starts_with("+pub mod ");
            declared += usize::from(is_declared);
            added += usize::from(line.starts_with('+') && !is_declared);
        }
        assert_eq!(added, 1, "{diff}");
        assert!(declared <= 1, "{diff}");
    }
    Ok(())
}

/// Applies them to a copy of the tree and runs the suites that they must pass.
#[test]
#[ignore = "builds three crates and all that they need anew: minutes"]
fn what_they_add_keeps_its_contract() -> Done {
    let copy = tempfile::tempdir()?;
    let files = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output()?;
    for file in String::from_utf8(files.stdout)?.split_terminator('\0') {
        let to = copy.path().join(file);
        fs::create_dir_all(to.parent().unwrap_or(copy.path()))?;
        fs::copy(root().join(file), to)?;
    }
    for diff in diffs()? {
        let (is_good, said) = apply(copy.path(), &[], &diff)?;
        assert!(is_good, "{said}");
    }
    let crates = ["-p", "evoke-store", "-p", "evoke-invoker", "-p", "evoke-providers", "--lib"];
    let tests = [
        "spool::tests::the_provider_conforms",
        "every_code_store_keeps_the_contract",
        "the_built_in_manifest_is_right",
    ];
    let ran = Command::new("cargo")
        .args(["test", "--offline", "--profile", "ci"])
        .args(crates)
        .arg("--")
        .args(tests)
        .current_dir(copy.path())
        // Not the folder of this tree: cargo would take what it finds there for the copy's, and later the
        // copy's for this tree's.
        .env("CARGO_TARGET_DIR", root().canonicalize()?.join("target/contributing"))
        .output()?;
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let more = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{said}\n{more}");
    let ok = said.lines().filter(|line| line.ends_with("... ok")).count();
    assert_eq!(ok, tests.len(), "{said}");
    Ok(())
}
