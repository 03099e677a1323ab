//! `docs/manifest.md`: its files are written, its commands are run, its output is what they print.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use evoke_tests::{e2e::place::Place, fault::error::FaultError};
use tokio::process::Command;

use crate::shop::{Done, texts};

/// A fenced block of the page.
struct Block<'a> {
    language: &'a str,
    text: String,
    /// The file that the line before names.
    file: Option<&'a str>,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let (mut is_open, mut before) = (false, "");
    for line in page.lines() {
        match (is_open, line.strip_prefix("```")) {
            (false, Some(language)) => {
                let file = before.strip_prefix('`').and_then(|rest| rest.strip_suffix("`:"));
                blocks.push(Block { language, text: String::new(), file });
                is_open = true;
            }
            (true, Some(_)) => is_open = false,
            (true, None) => {
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            (false, None) if line.is_empty() => {}
            (false, None) => before = line,
        }
    }
    blocks
}

/// Runs a block's lines in a shell that finds the program and the hub; what it prints.
async fn run(place: &Place, folder: &Path, text: &str) -> Result<String, FaultError> {
    let program = fs::canonicalize(place.program())?;
    let mut path: Vec<PathBuf> = program.parent().map(Path::to_owned).into_iter().collect();
    path.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
    let ended = Command::new("bash")
        .args(["-c", text])
        .current_dir(folder)
        .env("PATH", env::join_paths(path).map_err(std::io::Error::other)?)
        .env("EVOKE_DATA", place.data())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let (out, err) = texts(&ended);
    Ok(out + &err)
}

#[tokio::test]
async fn the_page_about_manifests_is_true() -> Done {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/manifest.md");
    let page = fs::read_to_string(page)?;
    let place = Place::new()?;
    let (hub, _) = place.start().await?;
    let folder = place.room().join("page");
    fs::create_dir_all(folder.join("actions"))?;
    let blocks = blocks(&page);
    let mut runs = 0;
    for (index, block) in blocks.iter().enumerate() {
        match (block.language, block.file) {
            ("sh", _) => {
                let printed = run(&place, &folder, &block.text).await?;
                let expected = blocks.get(index + 1).filter(|next| next.language == "text");
                let Some(expected) = expected else { panic!("no output of {}", block.text) };
                assert_eq!(printed, expected.text, "{}", block.text);
                runs += 1;
            }
            ("text", _) => {}
            (_, Some(file)) => fs::write(folder.join(file), &block.text)?,
            (language, None) => panic!("a block of {language} that is no file"),
        }
    }
    assert!(runs > 0, "the page shows no command any more");
    place.end(hub).await
}
