//! A folder of code as one archive: the same bytes for the same files, so that nothing changes where
//! nothing was changed.

use std::{
    fs,
    io::{self, Cursor, Write as _},
    path::{Path, PathBuf},
};

use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use crate::error::CliError;

/// Most files of one action.
const MAX_FILES: usize = 20_000;
/// Deepest folder.
const MAX_DEPTH: usize = 64;

/// Every file of a folder, sorted; not what version control keeps for itself.
///
/// # Errors
/// A folder that cannot be read, or that holds too much.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((inside, depth)) = folders.pop() {
        let read = |error| CliError::read(&inside, error);
        for entry in fs::read_dir(&inside).map_err(read)? {
            let entry = entry.map_err(read)?;
            let path = entry.path();
            let is_folder = entry.file_type().map_err(read)?.is_dir();
            match is_folder {
                true if entry.file_name() == ".git" => {}
                true => folders.push((path, depth + 1)),
                false => found.push(path),
            }
        }
        if found.len() > MAX_FILES || depth > MAX_DEPTH {
            let folder = folder.display();
            return Err(CliError::Usage(format!(
                "`{folder}` holds more than {MAX_FILES} files, or is deeper than {MAX_DEPTH}"
            )));
        }
    }
    found.sort();
    Ok(found)
}

/// The folder as a zip.
///
/// # Errors
/// As [`files`]; a file that cannot be read.
pub(crate) fn zip(folder: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error: zip::result::ZipError| CliError::Local {
        what: format!("pack `{}`", folder.display()),
        source: io::Error::other(error),
    };
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default())
        .unix_permissions(0o644);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for file in files(folder)? {
        let bytes = fs::read(&file).map_err(|error| CliError::read(&file, error))?;
        let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
        archive.start_file(name, options).map_err(failed)?;
        archive.write_all(&bytes).map_err(|error| CliError::read(&file, error))?;
    }
    Ok(archive.finish().map_err(failed)?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_are_the_same_bytes() {
        let make = |more: &str| {
            let folder = tempfile::tempdir().unwrap();
            for inside in ["lib", ".git"] {
                fs::create_dir(folder.path().join(inside)).unwrap();
            }
            for (name, text) in [("b.js", "b"), ("lib/a.js", more), (".git/HEAD", "x")] {
                fs::write(folder.path().join(name), text).unwrap();
            }
            zip(folder.path()).unwrap()
        };
        assert_eq!(make("a"), make("a"));
        assert!(make("a") != make("c"));
        let mut read = zip::ZipArchive::new(Cursor::new(make("a"))).unwrap();
        let names: Vec<_> =
            (0..read.len()).map(|index| read.by_index(index).unwrap().name().to_owned()).collect();
        assert_eq!(names, ["b.js", "lib/a.js"]);
    }
}
