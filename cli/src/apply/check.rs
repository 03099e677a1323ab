//! Mistakes that only the hub can tell, found before anything is changed: kinds, limits, what rules
//! and feeds refer to, parameters of feeds.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use super::{
    mistakes::Mistakes,
    plan::{AT_ONCE, Change, Step},
    wanted::{Collection, Wanted},
};
use crate::{
    error::CliError,
    hub::{Hub, get, put},
    name::{Name, number, text},
};

/// Bytes of a MB.
const MB: u64 = 1 << 20;

/// Something that must be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    collection: Collection,
    full: String,
}

/// Checks all that is to be made or changed.
pub(super) async fn check(
    hub: &Hub,
    steps: &[Step],
    mistakes: &mut Mistakes,
) -> Result<(), CliError> {
    let changed = || {
        let wanted = |step: &Step| step.wanted.clone().filter(|_| step.change != Change::Unchanged);
        steps.iter().filter_map(wanted).collect::<Vec<_>>()
    };
    let changed = changed();
    if changed.iter().any(|wanted| wanted.collection == Collection::Actions) {
        let about = hub.about().await?;
        for action in changed.iter().filter(|one| one.collection == Collection::Actions) {
            kind(action, &about, mistakes);
            limits(action, &about, mistakes);
        }
    }
    references(hub, steps, &changed, mistakes).await?;
    for feed in changed.iter().filter(|one| one.collection == Collection::Feeds) {
        parameters(hub, feed, mistakes).await?;
    }
    Ok(())
}

fn kind(action: &Wanted, about: &Value, mistakes: &mut Mistakes) {
    let kind = action.body.get("exec").map(|exec| text(exec, "kind")).unwrap_or_default();
    let Some(runtimes) = about.get("runtimes").and_then(Value::as_object) else { return };
    let kinds = || runtimes.values().filter_map(Value::as_array).flatten();
    let family = kind.strip_suffix(":default");
    let found = kinds().find(|known| text(known, "kind") == kind);
    let is_known = match family {
        Some(family) => runtimes.contains_key(family),
        None => found.is_some(),
    };
    let known = || {
        let is_old = |kind: &&Value| kind.get("deprecated") == Some(&Value::Bool(true));
        let names = kinds().filter(|kind| !is_old(kind)).map(|kind| text(kind, "kind"));
        names.collect::<Vec<_>>().join("`, `")
    };
    if !is_known {
        let text = format!("`{kind}` is no kind that this hub runs (known: `{}`)", known());
        mistakes.add(&action.place("runtime"), text);
    } else if found.and_then(|kind| kind.get("deprecated")) == Some(&Value::Bool(true)) {
        let text = format!("`{kind}` is no longer supported (known: `{}`)", known());
        mistakes.add(&action.place("runtime"), text);
    }
}

fn limits(action: &Wanted, about: &Value, mistakes: &mut Mistakes) {
    let Some(ranges) = about.get("limits") else { return };
    for (member, field, name, unit, word) in [
        ("timeout", "limits.timeout", "duration", 1, "ms"),
        ("memory", "limits.memorySize", "memory", MB, "MB"),
        ("logs", "limits.logSize", "logs", MB, "MB"),
    ] {
        let wanted = action.body.get("limits").and_then(|limits| number(limits, member));
        let bound = |side: &str| number(ranges, &format!("{side}_action_{name}"));
        let (Some(wanted), Some(min), Some(max)) = (wanted, bound("min"), bound("max")) else {
            continue;
        };
        let (min, max) = (min / unit, max / unit);
        if !(min..=max).contains(&wanted) {
            let text = format!("must be within {min} to {max} {word}, not {wanted}");
            mistakes.add(&action.place(field), text);
        }
    }
}

/// What rules and feeds name must be in the manifest or on the hub.
async fn references(
    hub: &Hub,
    steps: &[Step],
    changed: &[Wanted],
    mistakes: &mut Mistakes,
) -> Result<(), CliError> {
    let own: BTreeSet<Reference> = steps
        .iter()
        .map(|step| Reference { collection: step.collection, full: step.name.full() })
        .collect();
    let named: Vec<_> = changed
        .iter()
        .flat_map(|one| {
            named_by(one).into_iter().map(move |(field, reference)| (one, field, reference))
        })
        .collect();
    let outside: BTreeSet<_> =
        named.iter().map(|(_, _, reference)| reference).filter(|one| !own.contains(one)).collect();
    let asked = stream::iter(outside).map(|reference| async move {
        let is_there = is_there(hub, reference).await?;
        Ok::<_, CliError>((!is_there).then(|| reference.clone()))
    });
    let missing: Vec<Option<Reference>> = asked.buffered(AT_ONCE).try_collect().await?;
    let missing: BTreeSet<Reference> = missing.into_iter().flatten().collect();
    for (wanted, field, reference) in named {
        if missing.contains(&reference) {
            let noun = reference.collection.noun();
            let name = Name::parse(&reference.full);
            let text = format!("there is no {noun} `{name}`, neither here nor on the hub");
            mistakes.add(&wanted.place(field), text);
        }
    }
    Ok(())
}

fn named_by(wanted: &Wanted) -> Vec<(&'static str, Reference)> {
    let one = |collection, name: &str| Reference { collection, full: Name::parse(name).full() };
    match wanted.collection {
        Collection::Rules => {
            let dead = wanted.annotations.get("delivery");
            let dead = dead.map(|delivery| text(delivery, "deadLetterTrigger")).unwrap_or_default();
            let dead = (!dead.is_empty())
                .then(|| ("delivery.deadLetterTrigger", one(Collection::Triggers, dead)));
            [
                ("trigger", one(Collection::Triggers, wanted.text("trigger"))),
                ("action", one(Collection::Actions, wanted.text("action"))),
            ]
            .into_iter()
            .chain(dead)
            .collect()
        }
        Collection::Feeds => vec![("trigger", one(Collection::Triggers, wanted.text("trigger")))],
        Collection::Triggers => {
            let feed = wanted.feed.iter();
            feed.map(|feed| ("feed", one(Collection::Actions, &feed.action.full()))).collect()
        }
        Collection::Packages | Collection::Actions => Vec::new(),
    }
}

async fn is_there(hub: &Hub, reference: &Reference) -> Result<bool, CliError> {
    let name = Name::parse(&reference.full);
    let path = name.path(reference.collection.word());
    let request = get(&path).of(&name.namespace);
    let request = match reference.collection {
        Collection::Actions => request.query("code", false),
        _ => request,
    };
    match hub.ask(request).await {
        Ok(_) => Ok(true),
        Err(CliError::NotFound(_) | CliError::Conflict(_) | CliError::Refused(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The hub's own word on a feed's provider and parameters.
async fn parameters(hub: &Hub, feed: &Wanted, mistakes: &mut Mistakes) -> Result<(), CliError> {
    let request = put(&feed.path()).query("dryRun", true).body(feed.body.clone().into());
    let answer = hub.answer(request).await?;
    if answer.status.is_success() {
        return Ok(());
    }
    let said = text(&answer.body, "error").to_owned();
    match answer.failure() {
        CliError::Invalid(_) => {}
        error => return Err(error),
    }
    if said.starts_with("unknown provider") {
        mistakes.add(&feed.place("provider"), said);
        return Ok(());
    }
    let said =
        said.strip_prefix(&format!("provider `{}`: ", feed.text("provider"))).unwrap_or(&said);
    for sentence in sentences(said) {
        let name = sentence.split('`').nth(1).unwrap_or_default();
        let at = feed.place(&format!("parameters.{name}"));
        mistakes.add(&at, sentence);
    }
    Ok(())
}

/// A provider's mistakes, each beginning with the parameter's name.
fn sentences(said: &str) -> Vec<String> {
    let mut sentences: Vec<String> = Vec::new();
    for part in said.split("; ") {
        match sentences.last_mut() {
            Some(last) if !part.starts_with('`') && !part.starts_with("unknown") => {
                last.push_str("; ");
                last.push_str(part);
            }
            _ => sentences.push(part.to_owned()),
        }
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_providers_mistakes_are_told_apart() {
        assert_eq!(
            sentences("`every` must be x; or y; `cron` is wrong; unknown parameter `z`"),
            ["`every` must be x; or y", "`cron` is wrong", "unknown parameter `z`"]
        );
    }
}
