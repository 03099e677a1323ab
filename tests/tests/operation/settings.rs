//! Settings: from flag, environment, file and default; every mistake at once.

use std::fs;

use evoke_tests::e2e::place::Place;
use tokio::process::Command;

use super::{Done, ends, said, word};

#[tokio::test]
async fn what_holds_is_shown_with_its_source() -> Done {
    let mut place = Place::new()?;
    let file = place.room().join("evoke.toml");
    fs::write(&file, "log-age = 24\nactivation-age = 48\nlisten = '127.0.0.1:1'\n")?;
    let shown = Command::new(place.program())
        .args(["config", "show", "--config", word(&file), "--listen", "127.0.0.1:2"])
        .env("EVOKE_ACTIVATION_AGE", "72")
        .output()
        .await?;
    let text = said(&shown);
    assert!(shown.status.success(), "{text}");
    for line in [
        "listen = \"127.0.0.1:2\" # command line".to_owned(),
        "activation-age = 72 # EVOKE_ACTIVATION_AGE".to_owned(),
        format!("log-age = 24 # {}:1", file.display()),
        "log-size = 20480 # default".to_owned(),
        "# tls-cert is not set".to_owned(),
    ] {
        assert!(text.lines().any(|it| it == line), "`{line}` is not shown:\n{text}");
    }
    let good = ends(&place, 0, &["config", "check", "--config", word(&file)]).await?;
    assert!(good.contains("the settings are good"), "{good}");
    place.done();
    Ok(())
}

#[tokio::test]
async fn a_hub_takes_its_settings_from_the_file() -> Done {
    let mut place = Place::new()?;
    let file = place.room().join("evoke.toml");
    fs::write(&file, "log-format = 'json'\nlog-level = 'info'\n")?;
    place.launch.environment.push(("EVOKE_CONFIG", file.clone().into()));
    let (hub, _) = place.start().await?;
    let log = place.log();
    let line = log.lines().next().unwrap_or_default();
    assert!(line.starts_with("{\"timestamp\""), "JSON, as the file wants it: {log}");
    place.end(hub).await
}

#[tokio::test]
async fn mistakes_of_all_sources_are_told_together_and_nothing_is_made() -> Done {
    let mut place = Place::new()?;
    fs::remove_dir(place.data())?;
    let file = place.room().join("evoke.toml");
    fs::write(&file, "log-size = 3\nlog-agee = 1\ntls-cert = '/none.pem'\n\nnetwork = 'all'\n")?;
    for words in [["up", "--listen"].as_slice(), &["config", "check", "--listen"]] {
        let output = Command::new(place.program())
            .args(words)
            .args(["nowhere", "--config", word(&file), "--data", word(place.data())])
            .env("EVOKE_LOG_AGE", "soon")
            .output()
            .await?;
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let at = |line: usize| format!("{}:{line}", file.display());
        for part in [
            "invalid value 'nowhere' for '--listen <HOST:PORT>'".to_owned(),
            "EVOKE_LOG_AGE: invalid value 'soon'".to_owned(),
            format!("--log-size must be at least 256 (log-size: {})", at(1)),
            format!("{}: there is no setting `log-agee`; is `log-age` meant?", at(2)),
            format!("--tls-cert and --tls-key go together (tls-cert: {})", at(3)),
            format!("{}: invalid value 'all' for '--network <WHICH>'", at(5)),
        ] {
            assert!(text.contains(&part), "`{part}` is not told:\n{text}");
        }
        assert_eq!(text.lines().count(), 6, "{text}");
    }
    assert!(!place.data().exists(), "nothing is made");
    place.done();
    Ok(())
}
