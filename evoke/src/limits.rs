//! Caps of namespaces: as flags of `up` for all, as `evoke key limits` for one.

use std::{collections::BTreeSet, io, path::PathBuf};

use clap::Args;
use evoke_schemas::{ByteSize, Namespace, NamespaceLimits, NamespaceOverrides};
use evoke_store::Identities;
use serde::{Deserialize, Serialize};

use crate::{
    control::{self, Answered, Asked},
    directory::Directory,
    keys::KeyError,
    stores::open_entities,
};

/// Caps of every namespace that has none of its own.
#[derive(Debug, Args)]
#[command(next_help_heading = "Caps of each namespace (`evoke key limits` sets those of one)")]
pub(crate) struct ForAll {
    /// Most bytes of one action's code, such as 10MB.
    #[arg(long, value_name = "SIZE", env = "EVOKE_CODE_SIZE", default_value = "48MB")]
    pub(crate) code_size: ByteSize,
    /// Most bytes of one event or invocation, such as 256KB.
    #[arg(long, value_name = "SIZE", env = "EVOKE_PAYLOAD_SIZE", default_value = "1MB")]
    pub(crate) payload_size: ByteSize,
    /// Most actions, packages, triggers, rules and feeds together.
    #[arg(long, value_name = "COUNT", env = "EVOKE_ENTITIES", default_value_t = 10_000)]
    pub(crate) entities: u64,
    /// Bytes accepted and not yet delivered past which more are answered 429.
    #[arg(long, value_name = "SIZE", env = "EVOKE_UNDELIVERED_SIZE", default_value = "256MB")]
    pub(crate) undelivered_size: ByteSize,
    /// Most runs under way at once, each in a sandbox.
    #[arg(long, value_name = "COUNT", env = "EVOKE_SANDBOXES", default_value_t = 512)]
    pub(crate) sandboxes: u64,
}

/// Caps of one namespace; without any, those that are set are shown.
#[derive(Debug, Args)]
pub(crate) struct ForOne {
    /// Name of the namespace.
    namespace: String,
    /// Most bytes of one action's code, such as 10MB.
    #[arg(long, value_name = "SIZE")]
    code: Option<ByteSize>,
    /// Most bytes of one event or invocation, such as 256KB.
    #[arg(long, value_name = "SIZE")]
    payload: Option<ByteSize>,
    /// Most actions, packages, triggers, rules and feeds together.
    #[arg(long, value_name = "COUNT")]
    entities: Option<u64>,
    /// Bytes accepted and not yet delivered past which more are answered 429.
    #[arg(long, value_name = "SIZE")]
    undelivered: Option<ByteSize>,
    /// Most runs under way at once, each in a sandbox.
    #[arg(long, value_name = "COUNT")]
    sandboxes: Option<u64>,
    /// The only kinds that its actions may be of, such as nodejs:20,python:3.11.
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kind)]
    kinds: Option<Vec<String>>,
    /// Take all back that is set, before what is set by the other flags.
    #[arg(long)]
    reset: bool,
    /// Directory of the hub, running or not.
    #[arg(long, value_name = "DIR", env = "EVOKE_DATA", default_value = "data")]
    pub(crate) data: PathBuf,
}

/// What is to become of a namespace's caps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Change {
    namespace: String,
    set: NamespaceOverrides,
    reset: bool,
}

/// Who keeps caps: the running hub, or the store alone.
#[async_trait::async_trait]
pub(crate) trait Keeper: Send + Sync {
    /// Where namespaces are.
    fn identities(&self) -> &dyn Identities;

    /// Keeps the caps, and makes them hold.
    async fn keep(
        &self,
        namespace: &Namespace,
        own: NamespaceOverrides,
    ) -> Result<(), evoke_store::StoreError>;
}

// === impl ForAll ===

impl ForAll {
    /// The caps; their bounds are not looked at.
    pub(crate) fn limits(&self) -> NamespaceLimits {
        NamespaceLimits {
            code: self.code_size.0,
            payload: self.payload_size.0,
            entities: self.entities,
            undelivered: self.undelivered_size.0,
            sandboxes: self.sandboxes,
        }
    }
}

// === impl ForOne ===

impl ForOne {
    fn change(&self) -> Change {
        let bytes = |size: Option<ByteSize>| size.map(|size| size.0);
        Change {
            namespace: self.namespace.clone(),
            set: NamespaceOverrides {
                code: bytes(self.code),
                payload: bytes(self.payload),
                entities: self.entities,
                undelivered: bytes(self.undelivered),
                sandboxes: self.sandboxes,
                kinds: self.kinds.as_ref().map(|kinds| kinds.iter().cloned().collect()),
            },
            reset: self.reset,
        }
    }
}

/// Changes the caps of a namespace, and gives a line for each cap that it has of its own.
///
/// # Errors
/// [`KeyError`] says what to do.
pub(crate) async fn change(directory: &Directory, told: &ForOne) -> Result<String, KeyError> {
    let Some(stream) = control::connect(directory).await else {
        let _claim = directory.claim()?;
        let (_entities, identities) = open_entities(directory)?;
        let own = apply(&identities, told.change()).await?;
        return Ok(shown(&told.namespace, &own));
    };
    let own = match control::ask(stream, &Asked::Limits(told.change())).await?.0 {
        Answered::Limits(own) => own,
        Answered::Refused(reason) => return Err(KeyError::Refused(reason)),
        Answered::Key(_) | Answered::Names(_) | Answered::Copy => {
            return Err(io::Error::other("it answers something else").into());
        }
    };
    Ok(shown(&told.namespace, &own))
}

/// Makes the change; gives what is set then.
///
/// # Errors
/// [`KeyError`] says what to do.
pub(crate) async fn apply(
    keeper: &dyn Keeper,
    change: Change,
) -> Result<NamespaceOverrides, KeyError> {
    let name = change.namespace;
    let namespace = Namespace::new(&name).map_err(|error| KeyError::Name(name.clone(), error))?;
    if keeper.identities().owner(&namespace).await?.is_none() {
        return Err(KeyError::Missing(name));
    }
    let former = keeper.identities().overrides(&namespace);
    let base = if change.reset { NamespaceOverrides::default() } else { former.clone() };
    let own = base.changed(change.set);
    own.check().map_err(KeyError::Caps)?;
    if own != former {
        keeper.keep(&namespace, own.clone()).await?;
    }
    Ok(own)
}

/// A kind as the manifest of runtimes names it.
fn kind(text: &str) -> Result<String, String> {
    let kind = text.trim().to_lowercase();
    match kind.split_once(':') {
        Some((family, version)) if !family.is_empty() && !["", "default"].contains(&version) => {
            Ok(kind)
        }
        _ => {
            Err("a kind is a family and a version, such as nodejs:20; `evoke runtimes` lists them"
                .to_owned())
        }
    }
}

fn joined(kinds: &BTreeSet<String>) -> String {
    kinds.iter().map(String::as_str).collect::<Vec<_>>().join(",")
}

/// A line for each cap of its own, or one that says that there is none.
fn shown(namespace: &str, own: &NamespaceOverrides) -> String {
    let limits = NamespaceLimits::default().with(own);
    let is_set = |cap: &str| match cap {
        "code" => own.code.is_some(),
        "payload" => own.payload.is_some(),
        "entities" => own.entities.is_some(),
        "undelivered" => own.undelivered.is_some(),
        _ => own.sandboxes.is_some(),
    };
    let line = |(cap, value, bytes): (&str, u64, bool)| {
        let value = if bytes { ByteSize(value).to_string() } else { value.to_string() };
        format!("{cap:<12} {value}")
    };
    let kinds = own.kinds.as_ref();
    let own = limits.all().into_iter().filter(|(cap, ..)| is_set(cap));
    let mut lines: Vec<String> = own.map(line).collect();
    lines.extend(kinds.map(|kinds| format!("{:<12} {}", "kinds", joined(kinds))));
    match lines.is_empty() {
        true => format!("{namespace} has the caps of all namespaces"),
        false => lines.join("\n"),
    }
}

#[async_trait::async_trait]
impl Keeper for evoke_store::EmbeddedIdentities {
    fn identities(&self) -> &dyn Identities {
        self
    }

    async fn keep(
        &self,
        namespace: &Namespace,
        own: NamespaceOverrides,
    ) -> Result<(), evoke_store::StoreError> {
        self.set_overrides(namespace, own).await
    }
}

#[async_trait::async_trait]
impl Keeper for evoke_controller::Hub {
    fn identities(&self) -> &dyn Identities {
        Self::identities(self)
    }

    async fn keep(
        &self,
        namespace: &Namespace,
        own: NamespaceOverrides,
    ) -> Result<(), evoke_store::StoreError> {
        self.set_overrides(namespace, own).await
    }
}
