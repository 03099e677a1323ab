//! Settings from flags, environment and file: which one holds, and every mistake told.

use std::fs;

use super::*;

fn told_by(words: &[&str], file: Option<&str>) -> Told {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("evoke.toml");
    let mut all = vec!["evoke", "up"];
    let named = format!("--config={}", path.display());
    if let Some(text) = file {
        fs::write(&path, text).unwrap();
        all.push(&named);
    }
    all.extend(words);
    let matches = program().try_get_matches_from(all).unwrap();
    told(matches.subcommand_matches("up").unwrap()).unwrap()
}

fn shown(told: &Told, name: &str) -> String {
    told.settings.iter().find(|setting| setting.name == name).unwrap().to_string()
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let text = "listen = '127.0.0.1:2'\nlog-size = 512\ninsecure = true\nallow-network = ['10.0.0.0/8', '172.16.0.0/12']\n";
    let told = told_by(&["--listen", "127.0.0.1:3"], Some(text));
    assert!(told.mistakes.is_empty(), "{:?}", told.mistakes);
    assert_eq!(told.up.listen.port(), 3);
    assert_eq!((told.up.log_size, told.up.insecure), (512, true));
    assert_eq!(told.up.allow_network, ["10.0.0.0/8", "172.16.0.0/12"]);
    assert_eq!(told.up.log_age, 168);
    assert_eq!(shown(&told, "listen"), "listen = \"127.0.0.1:3\" # command line");
    assert!(shown(&told, "log-size").ends_with("evoke.toml:2"), "{}", shown(&told, "log-size"));
    assert_eq!(shown(&told, "log-age"), "log-age = 168 # default");
    assert_eq!(shown(&told, "tls-cert"), "# tls-cert is not set");
    assert!(told.origin("log-size").is_some() && told.origin("listen").is_none());
}

#[test]
fn every_mistake_is_told_whatever_its_source() {
    let text = "log-size = 'much'\nnetwork = 'all'\nlog-agee = 3\ninsecure = 'perhaps'\n";
    let told = told_by(&["--listen", "nowhere", "--sandbox-memory=3x"], Some(text));
    let all = told.mistakes.join("\n");
    for part in [
        "invalid value 'nowhere' for '--listen <HOST:PORT>'",
        "--sandbox-memory <MB>",
        "evoke.toml:1: invalid value 'much' for '--log-size <MB>'",
        "evoke.toml:2: invalid value 'all' for '--network <WHICH>'",
        "evoke.toml:3: there is no setting `log-agee`; is `log-age` meant?",
        "evoke.toml:4: invalid value 'perhaps' for '--insecure': true or false wanted",
    ] {
        assert!(all.contains(part), "`{part}` is not told:\n{all}");
    }
    assert_eq!(told.mistakes.len(), 6, "{all}");
}

#[test]
fn what_is_shown_could_be_given() {
    let told = told_by(&["--allow-network", "10.0.0.0/8,172.16.0.0/12", "--insecure"], None);
    let lines = told.settings.iter().filter(|setting| setting.name != CONFIG);
    let file: String = lines.map(|setting| format!("{setting}\n")).collect();
    let again = told_by(&[], Some(&file));
    assert!(again.mistakes.is_empty(), "{:?}\n{file}", again.mistakes);
    assert_eq!(format!("{:?}", again.up.allow_network), format!("{:?}", told.up.allow_network));
    assert!(again.up.insecure);
    assert_eq!(again.up.listen, told.up.listen);
}

#[test]
fn a_file_that_is_not_there_is_a_mistake() {
    let matches =
        program().try_get_matches_from(["evoke", "up", "--config", "/none.toml"]).unwrap();
    let told = told(matches.subcommand_matches("up").unwrap()).unwrap();
    assert!(
        told.mistakes.iter().any(|it| it.contains("cannot read /none.toml")),
        "{:?}",
        told.mistakes
    );
}
