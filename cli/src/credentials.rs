//! Finding the hub and the key of this machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{error::CliError, options::HubOptions};

/// Where a hub listens that says nothing else.
pub(crate) const DEFAULT_HOST: &str = "http://127.0.0.1:3233";

/// Which hub, and with which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) host: String,
    pub(crate) key: Option<String>,
    /// Where the key was looked for, for the error that says it is missing.
    pub(crate) looked: Vec<String>,
}

/// Folders that are looked into.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) current: PathBuf,
    pub(crate) home: Option<PathBuf>,
}

impl Places {
    pub(crate) fn here() -> Self {
        Self { current: PathBuf::from("."), home: std::env::home_dir() }
    }
}

/// The command line first, then the data directory, then `~/.wskprops`.
///
/// # Errors
/// Files that are there and cannot be read; a data directory that was named and has no key.
pub(crate) fn find(options: &HubOptions, places: &Places) -> Result<Found, CliError> {
    let mut found = Found { host: String::new(), key: None, looked: Vec::new() };
    let mut host = None;
    for folder in folders(options, places) {
        let file = folder.join("credentials");
        found.looked.push(file.display().to_string());
        if let Some(key) = read_line(&file)? {
            found.key = Some(key);
            host = read_line(&folder.join("address"))?;
            break;
        }
    }
    if found.key.is_none() && options.data.is_none() {
        (found.key, host) = wskprops(places, &mut found.looked)?;
    }
    if let Some(key) = &options.key {
        found.key = Some(key.trim().to_owned());
    }
    let host = options.host.clone().or(host);
    found.host = with_scheme(&host.unwrap_or_else(|| DEFAULT_HOST.to_owned()));
    Ok(found)
}

fn folders(options: &HubOptions, places: &Places) -> Vec<PathBuf> {
    match &options.data {
        Some(data) => vec![data.clone()],
        None => {
            let home = places.home.iter().map(|home| home.join(".evoke"));
            [places.current.join("data")].into_iter().chain(home).collect()
        }
    }
}

/// Key and host of OpenWhisk's property file.
fn wskprops(
    places: &Places,
    looked: &mut Vec<String>,
) -> Result<(Option<String>, Option<String>), CliError> {
    let Some(home) = &places.home else { return Ok((None, None)) };
    let file = home.join(".wskprops");
    looked.push(file.display().to_string());
    let text = read(&file)?.unwrap_or_default();
    let property = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    Ok((property("AUTH"), property("APIHOST")))
}

fn read_line(file: &Path) -> Result<Option<String>, CliError> {
    let text = read(file)?;
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

fn read(file: &Path) -> Result<Option<String>, CliError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::read(file, error)),
    }
}

/// A host without scheme is plain on this machine, else TLS, as `wsk` has it.
fn with_scheme(host: &str) -> String {
    let host = host.trim().trim_end_matches('/');
    if host.contains("://") {
        return host.to_owned();
    }
    let local = ["127.", "localhost", "[::1]"].iter().any(|name| host.starts_with(name));
    format!("{}://{host}", if local { "http" } else { "https" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(folder: &Path) -> Places {
        let (current, home) = (folder.join("here"), folder.join("home"));
        for path in [current.join("data"), home.join(".evoke"), folder.join("other")] {
            fs::create_dir_all(path).unwrap();
        }
        Places { current, home: Some(home) }
    }

    fn check(options: &HubOptions, places: &Places, host: &str, key: Option<&str>) {
        let found = find(options, places).unwrap();
        assert_eq!((found.host.as_str(), found.key.as_deref()), (host, key));
    }

    #[test]
    fn the_nearest_credentials_win() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        let home = places.home.clone().unwrap();
        let none = HubOptions::default();
        check(&none, &places, DEFAULT_HOST, None);
        fs::write(home.join(".wskprops"), "APIHOST=ow.example\nAUTH=w:k\n").unwrap();
        check(&none, &places, "https://ow.example", Some("w:k"));
        fs::write(home.join(".evoke/credentials"), "h:k\n").unwrap();
        check(&none, &places, DEFAULT_HOST, Some("h:k"));
        fs::write(places.current.join("data/credentials"), "d:k\n").unwrap();
        fs::write(places.current.join("data/address"), "http://127.0.0.1:4000\n").unwrap();
        check(&none, &places, "http://127.0.0.1:4000", Some("d:k"));
        let other = folder.path().join("other");
        fs::write(other.join("credentials"), "o:k\n").unwrap();
        let named = HubOptions { data: Some(other), ..none };
        check(&named, &places, DEFAULT_HOST, Some("o:k"));
        let key = Some("a:b".to_owned());
        let given = HubOptions { host: Some("hub.example:1/".to_owned()), key, ..named };
        check(&given, &places, "https://hub.example:1", Some("a:b"));
    }

    #[test]
    fn a_named_directory_is_the_only_one_looked_into() {
        let folder = tempfile::tempdir().unwrap();
        let places = places(folder.path());
        fs::write(places.current.join("data/credentials"), "d:k").unwrap();
        let data = Some(folder.path().join("other"));
        let found = find(&HubOptions { data, ..HubOptions::default() }, &places).unwrap();
        assert_eq!(found.key, None);
        assert_eq!(found.looked.len(), 1);
    }

    #[test]
    fn loopback_without_scheme_is_plain() {
        assert_eq!(with_scheme("localhost:3233"), "http://localhost:3233");
        assert_eq!(with_scheme("127.0.0.1:1"), "http://127.0.0.1:1");
        assert_eq!(with_scheme("https://x/"), "https://x");
    }
}
