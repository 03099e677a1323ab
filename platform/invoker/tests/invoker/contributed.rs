//! The runtime that CONTRIBUTING.md adds runs as it stands there.

use evoke_invoker::Config;
use evoke_schemas::ActivationStatus as Status;
use serde_json::{Value, json};

use crate::site::{Site, lines, told};

const PAGE: &str = include_str!("../../../../CONTRIBUTING.md");
const PERL: &str = "perl:5";

/// The lines that the page's diff adds to a file.
fn added(file: &str) -> String {
    let part = PAGE.split("diff --git ").find(|part| part.starts_with(&format!("a/{file} ")));
    let lines = part.unwrap().split("\n```").next().unwrap().lines();
    let added = lines.filter(|line| !line.starts_with("+++")).filter_map(|l| l.strip_prefix('+'));
    added.map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_is_a_launcher_and_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let launcher = folder.path().join("perl.pl");
    std::fs::write(&launcher, added("platform/invoker/launchers/perl.pl")).unwrap();
    let line = added("platform/invoker/runtimes.json");
    let line = line.trim().trim_end_matches(',').replace("perl.pl", launcher.to_str().unwrap());
    let manifest = folder.path().join("runtimes.json");
    std::fs::write(&manifest, format!("{{\"families\": {{{line}}}}}")).unwrap();
    let config = Config { manifest: Some(manifest), stem_cells: false, ..Config::default() };
    let site = Site::open_with(config).await;
    let greet = "sub main { my ($args) = @_; print \"greeting\\n\";
        die \"nobody\\n\" unless $args->{name}; return {text => \"Hello, $args->{name}\"} }";
    let run = async |code: &str, arguments: Value| {
        site.once(site.action(PERL, code), &arguments.to_string()).await
    };
    let end = run(greet, json!({"name": "Ada"})).await;
    assert_eq!(told(&end), (Status::Success, json!({"text": "Hello, Ada"})));
    assert_eq!(lines(&end), ["stdout: greeting"]);
    let end = run(greet, json!({})).await;
    let why = json!({"error": "An error has occurred: nobody\n"});
    assert_eq!(told(&end), (Status::DeveloperError, why));
    let end = run("sub main {", json!({})).await;
    let (status, result) = told(&end);
    assert_eq!(status, Status::DeveloperError);
    assert!(result.to_string().contains("Initialization has failed"), "{result}");
    site.close().await;
}
