//! Archives: the good, the broken and the hostile.

use std::io::{Cursor, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use evoke_schemas::ActivationStatus as Status;
use serde_json::json;

use crate::{
    site::{Site, lines, told},
    snippets::SNIPPETS,
};

fn zip(files: &[(&str, &[u8])]) -> String {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .unix_permissions(0o755);
    for (name, content) in files {
        archive.start_file(*name, options).unwrap();
        archive.write_all(content).unwrap();
    }
    STANDARD.encode(archive.finish().unwrap().into_inner())
}

fn tar_gz(files: &[(&str, &[u8])]) -> String {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, *content).unwrap();
    }
    STANDARD.encode(archive.into_inner().unwrap().finish().unwrap())
}

async fn check(kind: &str, code: &str, main: Option<&str>, status: Status, part: &str) {
    let site = Site::open().await;
    let mut action = site.action(kind, code);
    action.binary = true;
    action.main = main.map(str::to_owned);
    let end = site.once(action, "{}").await;
    let (given, result) = told(&end);
    let text = format!("{result} {:?}", lines(&end));
    assert!(given == status && text.contains(part), "{kind}: {given:?} {text}");
    site.close().await;
}

const KINDS: [(&str, usize); 2] = [("nodejs:20", 0), ("python:3.11", 1)];

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_has_several_files_and_entry_points() {
    for (kind, index) in KINDS {
        let snippets = &SNIPPETS[index];
        let (side, content) = snippets.archive_side;
        let files =
            [(snippets.archive_main, snippets.archive_code.as_bytes()), (side, content.as_bytes())];
        check(kind, &zip(&files), None, Status::Success, "\"side\":\"yes\"").await;
        let other = Some(snippets.archive_other);
        check(kind, &zip(&files), other, Status::Success, "\"func\":true").await;
        if kind.starts_with("nodejs") {
            check(kind, &tar_gz(&files), None, Status::Success, "\"side\":\"yes\"").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_names_its_main_file() {
    let files: [(&str, &[u8]); 2] = [
        ("package.json", br#"{"main": "lib/start.js"}"#),
        ("lib/start.js", b"exports.main = () => ({started: __filename.endsWith('/lib/start.js')})"),
    ];
    check("nodejs:20", &zip(&files), None, Status::Success, "\"started\":true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_environment_is_used() {
    let files: [(&str, &[u8]); 2] = [
        ("__main__.py", b"import dep\ndef main(a):\n  return {'dep': dep.name}\n"),
        ("virtualenv/lib/python3.11/site-packages/dep.py", b"name = 'found'\n"),
    ];
    check("python:3.11", &zip(&files), None, Status::Success, "\"dep\":\"found\"").await;
    let files: [(&str, &[u8]); 2] =
        [("__main__.py", b"def main(a):\n  return {}\n"), ("virtualenv/other", b"")];
    let part = "does not include /virtualenv/bin/activate_this.py";
    check("python:3.11", &zip(&files), None, Status::DeveloperError, part).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_without_the_expected_file_is_told() {
    let files: [(&str, &[u8]); 1] = [("readme.txt", b"")];
    let part = "Zipped actions must contain either package.json or index.js at the root.";
    check("nodejs:20", &zip(&files), None, Status::DeveloperError, part).await;
    let part = "Zip file does not include mandatory files.";
    check("python:3.11", &zip(&files), None, Status::DeveloperError, part).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_archive_is_told() {
    let whole = zip(&[("index.js", b"x"), ("__main__.py", b"x")]);
    let cut = &whole[..whole.len() / 2 / 4 * 4];
    for code in [cut, "aGVsbG8gd29ybGQh", "abcd"] {
        for (kind, _) in KINDS {
            let part = "There was an error uncompressing the action archive";
            check(kind, code, None, Status::DeveloperError, part).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_archive_hurts_only_its_own_sandbox() {
    let climbing = zip(&[("../../evoke/evil", b"x"), ("index.js", b""), ("__main__.py", b"")]);
    let bomb = zip(&[("index.js", &vec![0; 600 << 20]), ("__main__.py", b"")]);
    assert!(bomb.len() < 1 << 20);
    for (kind, _) in KINDS {
        let part = "leaves the archive's folder";
        check(kind, &climbing, None, Status::DeveloperError, part).await;
        check(kind, &bomb, None, Status::DeveloperError, "error").await;
    }
    assert_eq!(json!(std::path::Path::new("/evoke/evil").exists()), json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_archive_fits_into_the_usual_memory() {
    let mut noise = vec![0; 34 << 20];
    let mut state = 1_u64;
    for byte in &mut noise {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (state >> 56) as u8;
    }
    for (kind, index) in KINDS {
        let snippets = &SNIPPETS[index];
        let code = zip(&[
            (snippets.archive_main, snippets.archive_code.as_bytes()),
            (snippets.archive_side.0, snippets.archive_side.1.as_bytes()),
            ("noise", &noise),
        ]);
        assert!(code.len() > 45 << 20);
        check(kind, &code, None, Status::Success, "\"side\":\"yes\"").await;
    }
}
