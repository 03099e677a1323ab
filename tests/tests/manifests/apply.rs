//! Applying: everything is made, a second time nothing is touched, what changes is told, what is
//! gone goes, and a wrong manifest changes nothing.

use std::fs;

use evoke_tests::e2e::{caller::Ask, entities::text, place::Place};
use serde_json::{Value, json};

use crate::shop::{Done, MANIFEST, apply, command, folder, says, texts, versions};

const ALL: [&str; 11] = [
    "package tools",
    "action note",
    "action tools/sum",
    "trigger orders",
    "trigger tick",
    "trigger nightly",
    "rule orders-note",
    "rule tick-sum",
    "rule nightly-echo",
    "feed clock",
    "feed hourly",
];

/// What a dry run says of `changed`.
const DRY: &str = "\
unchanged  package tools
update     action note
             inputs.level
             limits.timeout: 5000 → 6000
update     action tools/sum
             code
update     trigger orders
             webhook
unchanged  trigger tick
update     trigger nightly
             inputs
update     rule orders-note
             delivery.attempts: 3 → 4
unchanged  rule tick-sum
update     feed clock
             parameters.every
update     feed hourly
             parameters
delete     rule nightly-echo
0 to create, 7 to update, 1 to delete, 3 unchanged; nothing was changed
";

/// The manifest with a change of almost everything.
fn changed() -> String {
    MANIFEST
        .replace("timeout: 5000", "timeout: 6000")
        .replace("level: 2", "level: 3")
        .replace("attempts: 3", "attempts: 4")
        .replace("secret: $SHOP_SECRET", "secret: $SHOP_TOKEN")
        .replace("every: 1h", "every: 3h")
        .replace("{token: $SHOP_SECRET}", "{token: $SHOP_TOKEN}")
        .replace("0 2 * * *", "0 3 * * *")
        .replace("        nightly-echo: {trigger: nightly, action: tools/sum}\n", "")
}

fn all(word: &str) -> Vec<String> {
    ALL.iter().map(|entity| format!("{word:9}  {entity}")).collect()
}

#[tokio::test]
async fn a_second_apply_changes_nothing() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let folder = folder(&place, MANIFEST)?;
    assert_eq!(apply(&place, &folder).await?, all("created"));
    let rule = caller.get("rules/tick-sum").await?;
    assert_eq!(text(&rule, "/status"), "inactive");
    let feed = caller.get("feeds/nightly").await?;
    assert_eq!(text(&feed, "/feedAction"), "alarms/alarm");
    let before = versions(&caller).await?;
    assert_eq!(apply(&place, &folder).await?, all("unchanged"));
    assert_eq!(versions(&caller).await?, before);
    // The order of members, comments and quotes are no change either.
    let same = MANIFEST
        .replace("{timeout: 5000, memorySize: 128}", "{memorySize: 128, timeout: 5000} # ms");
    fs::write(folder.join("manifest.yaml"), same)?;
    assert_eq!(apply(&place, &folder).await?, all("unchanged"));
    assert_eq!(versions(&caller).await?, before);
    place.end(hub).await
}

#[tokio::test]
async fn a_dry_run_tells_each_field_and_no_secret() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let folder = folder(&place, MANIFEST)?;
    let path = folder.display().to_string();
    let dry = ["apply", "-f", &path, "--dry-run"];
    let out = says(&place, &dry).await?;
    assert!(
        out.ends_with("11 to create, 0 to update, 0 to delete, 0 unchanged; nothing was changed\n"),
        "{out}"
    );
    assert_eq!(versions(&caller).await?, Vec::<String>::new());
    apply(&place, &folder).await?;
    fs::write(folder.join("manifest.yaml"), changed())?;
    fs::write(folder.join("actions/sum.py"), "def add(args):\n    return {\"sum\": 2}\n")?;
    let before = versions(&caller).await?;
    let out = says(&place, &dry).await?;
    assert_eq!(out, DRY);
    let json = says(&place, &[&dry[..], &["--json"]].concat()).await?;
    for secret in ["hunter2", "hunter3"] {
        assert!(!json.contains(secret) && !out.contains(secret), "{json}");
    }
    assert_eq!(versions(&caller).await?, before);
    let lines = apply(&place, &folder).await?;
    assert_eq!(lines.iter().filter(|line| line.starts_with("updated")).count(), 7, "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("deleted    rule nightly-echo"));
    let lines = apply(&place, &folder).await?;
    assert!(lines.iter().all(|line| line.starts_with("unchanged")), "{lines:?}");
    let feed = caller.get("feeds/nightly").await?;
    assert_eq!(text(&feed, "/parameters/cron"), "0 3 * * *");
    place.end(hub).await
}

#[tokio::test]
async fn what_a_project_no_longer_has_goes_and_nothing_else() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let folder = folder(&place, MANIFEST)?;
    apply(&place, &folder).await?;
    // Of nobody, and of another project.
    caller.put("triggers/own", &json!({})).await?;
    caller
        .put(
            "actions/tools/mine",
            &json!({"exec": {"kind": "nodejs:default", "code": "function main() {}"}}),
        )
        .await?;
    let other = place.room().join("other.yaml");
    fs::write(&other, "project: {name: other, packages: {default: {triggers: {theirs: ~}}}}\n")?;
    says(&place, &["apply", "-f", &other.display().to_string()]).await?;

    fs::write(
        folder.join("manifest.yaml"),
        "project:\n  name: shop\n  packages:\n    default:\n      triggers:\n        tick:\n",
    )?;
    let lines = apply(&place, &folder).await?;
    let kept = "kept       package tools (not the project's: tools/mine)";
    let kinds: Vec<_> = lines.iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let order = "trigger feed feed rule rule rule trigger trigger action action package";
    assert_eq!(kinds.join(" "), order);
    let mut sorted = lines.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "deleted    action note",
            "deleted    action tools/sum",
            "deleted    feed clock",
            "deleted    feed hourly",
            "deleted    rule nightly-echo",
            "deleted    rule orders-note",
            "deleted    rule tick-sum",
            "deleted    trigger nightly",
            "deleted    trigger orders",
            kept,
            "unchanged  trigger tick",
        ]
    );
    let left = versions(&caller).await?;
    let names: Vec<_> =
        left.iter().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        names,
        [
            "actions \"mine\"",
            "packages \"tools\"",
            "triggers \"own\"",
            "triggers \"theirs\"",
            "triggers \"tick\""
        ]
    );
    assert_eq!(apply(&place, &folder).await?, ["unchanged  trigger tick", kept]);
    place.end(hub).await
}

#[tokio::test]
async fn another_projects_entities_are_taken_over_only_on_demand() -> Done {
    let place = Place::new()?;
    let (hub, _) = place.start().await?;
    let folder =
        folder(&place, "project: {name: shop, packages: {default: {triggers: {tick: ~}}}}\n")?;
    apply(&place, &folder).await?;
    let other = place.room().join("other.yaml");
    fs::write(
        &other,
        "project: {name: other, packages: {default: {triggers: {theirs: ~, tick: ~}}}}\n",
    )?;
    let file = other.display().to_string();
    let ended = command(&place, &["apply", "-f", &file]).output().await?;
    let (_, err) = texts(&ended);
    assert_eq!(ended.status.code(), Some(2));
    assert!(
        err.contains(
            "other.yaml:1: project.packages.default.triggers.tick: belongs to project `shop`"
        ),
        "{err}"
    );
    says(&place, &["apply", "-f", &file, "--adopt"]).await?;
    assert_eq!(apply(&place, &place.room().join("other.yaml")).await?.len(), 2);
    place.end(hub).await
}

#[tokio::test]
async fn a_wrong_manifest_tells_every_mistake_and_changes_nothing() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let wrong = "\
packages:
  default:
    actions:
      a: {code: x, runtime: cobol:85}
      b: {code: x, runtime: nodejs:default, limits: {timeout: 1, memorySize: 100000}}
    triggers:
      t:
      u: {feed: /whisk.system/alarms/none}
    rules:
      r: {trigger: none, action: t}
      s: {trigger: t, action: a, delivery: {deadLetterTrigger: gone}}
    feeds:
      f: {provider: alarm, trigger: t}
      g:
        provider: alarms
        trigger: t
        parameters:
          every: often
          color: red
";
    let folder = folder(&place, wrong)?;
    let ended = command(&place, &["apply", "-f", &folder.display().to_string()]).output().await?;
    let (out, err) = texts(&ended);
    assert_eq!((ended.status.code(), out.as_str()), (Some(2), ""), "{err}");
    let at = |line: u32, rest: &str| {
        let begins = format!("manifest.yaml:{line}: packages.default.{rest}");
        assert!(err.contains(&begins), "no {begins} in\n{err}");
    };
    assert!(err.contains("mistakes; nothing was changed\n"), "{err}");
    at(4, "actions.a.runtime: `cobol:85` is no kind that this hub runs (known: `nodejs:");
    at(5, "actions.b.limits.timeout: must be within 100 to 300000 ms, not 1");
    at(5, "actions.b.limits.memorySize: must be within 128 to 512 MB, not 100000");
    at(8, "triggers.u.feed: there is no action `/whisk.system/alarms/none`");
    at(10, "rules.r.trigger: there is no trigger `none`, neither here nor on the hub");
    at(10, "rules.r.action: there is no action `t`, neither here nor on the hub");
    at(11, "rules.s.delivery.deadLetterTrigger: there is no trigger `gone`");
    at(13, "feeds.f.provider: unknown provider `alarm` (known: alarms");
    at(18, "feeds.g.parameters.every: ");
    at(19, "feeds.g.parameters.color: unknown parameter `color`");
    assert_eq!(versions(&caller).await?, Vec::<String>::new());
    place.end(hub).await
}

const FEED_ACTION: &str = "\
project:
  name: own
  packages:
    default:
      actions:
        source:
          runtime: nodejs:default
          code: |
            function main(a) {
              if (a.refuse) return { error: 'refused' };
              return { event: a.lifecycleEvent, trigger: a.triggerName, extra: a.extra };
            }
      triggers:
        t: {feed: source, inputs: INPUTS}
";

/// A feed action that its user wrote: told of CREATE, of a change and of DELETE.
#[tokio::test]
async fn a_feed_action_is_told_what_becomes_of_its_trigger() -> Done {
    let place = Place::new()?;
    let (hub, caller) = place.start().await?;
    let manifest = |inputs: &str| FEED_ACTION.replace("INPUTS", inputs);
    let folder = folder(&place, &manifest("{refuse: true}"))?;
    let ended = command(&place, &["apply", "-f", &folder.display().to_string()]).output().await?;
    let (_, err) = texts(&ended);
    assert_eq!(err, "error: trigger t: its feed source refused CREATE: refused\n");
    assert_eq!(caller.send(Ask::new("GET", "triggers/t")).await?.status, 404);
    for inputs in ["{extra: 1}", "{extra: 1}", "{extra: 2}"] {
        fs::write(folder.join("manifest.yaml"), manifest(inputs))?;
        apply(&place, &folder).await?;
    }
    fs::write(folder.join("manifest.yaml"), "project: {name: own, packages: {default: ~}}\n")?;
    assert_eq!(apply(&place, &folder).await?, ["deleted    trigger t", "deleted    action source"]);
    let records = evoke_tests::e2e::entities::records(&caller, "source").await?;
    let told: Vec<Value> =
        records.iter().filter_map(|record| record.pointer("/response/result").cloned()).collect();
    let told: Vec<_> =
        told.iter().map(|one| format!("{} {}", one["event"], one["extra"])).collect();
    assert_eq!(
        told,
        ["null null", "\"CREATE\" 1", "\"DELETE\" null", "\"CREATE\" 2", "\"DELETE\" null"]
    );
    place.end(hub).await
}
