//! An action's code as the hub takes it: kind from the file's name, archives as base64, a folder as
//! an archive.

pub(crate) mod archive;

use std::{fs, path::Path};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::error::CliError;

/// `exec` of an action, from its file or folder.
///
/// # Errors
/// A file that cannot be read, or whose name tells no kind while none is given.
pub(crate) fn exec(file: &Path, kind: Option<&str>, main: Option<&str>) -> Result<Value, CliError> {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let extension = extension.unwrap_or_default();
    let is_archive = matches!(extension.as_str(), "zip" | "gz" | "tgz" | "jar");
    let inferred = match extension.as_str() {
        "js" | "mjs" | "cjs" => Some("nodejs:default"),
        "py" => Some("python:default"),
        _ => None,
    };
    let Some(kind) = kind.or(inferred) else {
        return Err(CliError::Usage(format!(
            "`{}` does not tell its kind: give --kind, such as `nodejs:default` or \
             `python:default` (`evoke runtimes` lists them)",
            file.display()
        )));
    };
    let bytes = match file.is_dir() {
        true => archive::zip(file)?,
        false => fs::read(file).map_err(|error| CliError::read(file, error))?,
    };
    let is_archive = is_archive || file.is_dir();
    let code = match String::from_utf8(bytes) {
        Ok(text) if !is_archive => text,
        Ok(text) => base64::engine::general_purpose::STANDARD.encode(text),
        Err(binary) => base64::engine::general_purpose::STANDARD.encode(binary.into_bytes()),
    };
    let mut exec = json!({"kind": kind, "code": code});
    if let (Some(main), Some(members)) = (main, exec.as_object_mut()) {
        members.insert("main".to_owned(), main.into());
    }
    Ok(exec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_tells_the_kind_and_archives_are_base64() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let js = exec(&file("a.js", b"x"), None, None).unwrap();
        assert_eq!(js, json!({"kind": "nodejs:default", "code": "x"}));
        let py = exec(&file("a.py", b"x"), None, Some("f")).unwrap();
        assert_eq!(py, json!({"kind": "python:default", "code": "x", "main": "f"}));
        let zip = file("a.zip", &[0x50, 0x4b, 0xff]);
        assert_eq!(exec(&zip, None, None).unwrap_err().code(), 2);
        let zip = exec(&zip, Some("nodejs:20"), None).unwrap();
        assert_eq!(zip, json!({"kind": "nodejs:20", "code": "UEv/"}));
        let missing = exec(&folder.path().join("b.js"), None, None).unwrap_err();
        assert!(missing.to_string().contains("b.js"), "{missing}");
    }
}
