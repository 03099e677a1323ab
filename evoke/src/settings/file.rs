//! The file of settings: TOML without tables, each key with its line.

use std::{ffi::OsString, fs, io, path::Path};

use toml_edit::{Document, Item, Value};

/// Largest file. Unit: bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Letters that may be wrong in a key that is still recognised.
const TYPOS: usize = 2;

/// One key of the file.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) values: Vec<OsString>,
    pub(super) file: String,
    pub(super) line: usize,
}

/// The file as a whole cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("--config: cannot read {0}: {1}")]
    Unreadable(String, io::Error),
    #[error("--config: {0} has more than {MAX_BYTES} bytes")]
    TooLarge(String),
    #[error("{0}:{1}: {2}")]
    NoToml(String, usize, String),
}

/// The entries whose keys are known, and a sentence for each that is wrong.
pub(super) fn read(path: &Path, known: &[String]) -> Result<(Vec<Entry>, Vec<String>), FileError> {
    let name = path.display().to_string();
    let unreadable = |error| FileError::Unreadable(name.clone(), error);
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_BYTES {
        return Err(FileError::TooLarge(name));
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let line_at = |at: usize| text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1;
    let document = Document::parse(text.as_str()).map_err(|error| {
        let line = line_at(error.span().map_or(0, |span| span.start));
        FileError::NoToml(name.clone(), line, error.message().trim().replace('\n', ", "))
    })?;
    let table = document.as_table();
    let (mut entries, mut wrong) = (Vec::new(), Vec::new());
    for (key, item) in table {
        let span = table.get_key_value(key).and_then(|(key, _)| key.span());
        let line = line_at(span.map_or(0, |span| span.start));
        let mut fail = |what: String| wrong.push(format!("{name}:{line}: {what}"));
        if !known.iter().any(|it| it == key) {
            fail(unknown(key, known));
            continue;
        }
        match values(item) {
            Some(values) => {
                entries.push(Entry { key: key.to_owned(), values, file: name.clone(), line });
            }
            None => {
                fail(format!("`{key}` wants text, a number, true or false, or a list of texts"))
            }
        }
    }
    Ok((entries, wrong))
}

/// Text as TOML has it.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn unknown(key: &str, known: &[String]) -> String {
    let near = known.iter().map(|it| (distance(key, it), it)).filter(|(far, _)| *far <= TYPOS);
    match near.min() {
        Some((_, near)) => format!("there is no setting `{key}`; is `{near}` meant?"),
        None => format!("there is no setting `{key}` (`evoke config show` lists all)"),
    }
}

fn values(item: &Item) -> Option<Vec<OsString>> {
    let value = item.as_value()?;
    match value.as_array() {
        Some(array) => array.iter().map(|value| value.as_str().map(OsString::from)).collect(),
        None => Some(vec![scalar(value)?.into()]),
    }
}

fn scalar(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let number = value.as_integer().map(|number| number.to_string());
    number.or_else(|| value.as_bool().map(|it| it.to_string()))
}

/// Letters to change, put in or take out to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, letter) in one.chars().enumerate() {
        let mut next = vec![number + 1];
        let (mut left, mut diagonal) = (number + 1, number);
        for (column, against) in other.iter().enumerate() {
            let above = row.get(column + 1).copied().unwrap_or(usize::MAX - 1);
            left = (diagonal + usize::from(letter != *against)).min(above + 1).min(left + 1);
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_typing_errors() {
        for (one, other, far) in [
            ("", "", 0),
            ("a", "", 1),
            ("log-sise", "log-size", 1),
            ("lisen", "listen", 1),
            ("abc", "xyz", 3),
        ] {
            assert_eq!(distance(one, other), far, "{one} {other}");
            assert_eq!(distance(other, one), far, "{other} {one}");
        }
    }

    #[test]
    fn every_wrong_key_is_told_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evoke.toml");
        fs::write(&path, "# settings\nlisten = \"127.0.0.1:1\"\nlisen = 1\n\n[log]\nsize = 7\n")
            .unwrap();
        let known = ["listen".to_owned(), "log".to_owned()];
        let (entries, wrong) = read(&path, &known).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].key.as_str(), entries[0].line), ("listen", 2));
        assert!(
            wrong[0].ends_with("evoke.toml:3: there is no setting `lisen`; is `listen` meant?"),
            "{wrong:?}"
        );
        assert!(wrong[1].contains("evoke.toml:5: `log` wants"), "{wrong:?}");
        fs::write(&path, "listen = 1\nlisten = 2\n").unwrap();
        let error = read(&path, &known).err().unwrap().to_string();
        assert!(error.contains("evoke.toml:2: "), "{error}");
    }
}
