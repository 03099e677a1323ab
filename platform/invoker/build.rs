//! Lists the launchers of their folder, so that to add one is to add a file.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

/// Folder of the launchers.
const FOLDER: &str = "launchers";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let here = env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?;
    let out = env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?;
    let mut files = Vec::new();
    for file in fs::read_dir(Path::new(&here).join(FOLDER))? {
        files.push(file?.path());
    }
    files.sort();
    let mut list = "&[\n".to_owned();
    for file in files {
        let name = file.file_name().unwrap_or_default();
        writeln!(list, "    ({name:?}, include_str!({file:?})),")?;
    }
    list.push_str("]\n");
    Ok(fs::write(Path::new(&out).join("launchers.rs"), list)?)
}
