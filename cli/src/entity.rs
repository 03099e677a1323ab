//! What all entities of a namespace have in common: saved, listed, deleted by name.

use serde_json::Value;

use crate::{
    error::CliError,
    hub::{Hub, delete, get, put},
    output::Output,
    page::Page,
};

/// A kind of entity, by its collection's name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entities(pub(crate) &'static str);

impl Entities {
    /// Makes (or, with `overwrite`, changes) the entity.
    pub(crate) async fn save(
        self,
        hub: &Hub,
        name: &str,
        body: Value,
        overwrite: bool,
    ) -> Result<Saved, CliError> {
        let request = put(&[self.0, name]).query("overwrite", overwrite).body(body);
        let verb = if overwrite { "updated" } else { "created" };
        let line = format!("ok: {verb} {} {name}", self.0.trim_end_matches('s'));
        Ok(Saved { entity: hub.ask(request).await?, line })
    }

    /// Prints the entities, the newest first.
    pub(crate) async fn list(
        self,
        hub: &Hub,
        output: &mut Output,
        page: &Page,
    ) -> Result<(), CliError> {
        output.entities(&hub.ask(page.ask(get(&[self.0]))).await?)
    }

    /// Deletes the entity and says so.
    pub(crate) async fn delete(
        self,
        hub: &Hub,
        output: &mut Output,
        name: &str,
    ) -> Result<(), CliError> {
        let gone = hub.ask(delete(&[self.0, name])).await?;
        let line = format!("ok: deleted {} {name}", self.0.trim_end_matches('s'));
        output.value_or_line(&gone, &line)
    }
}

/// An entity as the hub keeps it now, and the line that says so.
#[derive(Debug)]
pub(crate) struct Saved {
    entity: Value,
    line: String,
}

impl Saved {
    /// Prints it, `more` after the line.
    pub(crate) fn tell(&self, output: &mut Output, more: &str) -> Result<(), CliError> {
        output.value_or_line(&self.entity, &format!("{}{more}", self.line))
    }
}
