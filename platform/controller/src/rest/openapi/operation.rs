//! One method of a path: its handler, what it takes, what it answers.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    handler::Handler,
    routing::{MethodFilter, MethodRouter, on},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::parameter::Parameter;
use crate::hub::Hub;

/// A method with its handler and its description.
pub(in crate::rest) struct Operation {
    pub(super) route: MethodRouter<Arc<Hub>>,
    pub(super) described: Described,
}

/// What is said of a method.
pub(super) struct Described {
    pub(super) method: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) details: &'static str,
    pub(super) access: Access,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    pub(super) answers: Vec<Answer>,
    /// Statuses of errors beside those that every operation of its kind has.
    pub(super) errors: BTreeSet<u16>,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Anybody,
    /// Who has the key of a namespace.
    Key,
    /// Who has that key, or the credential of the trigger.
    Sender,
}

/// What a request carries.
pub(super) struct Body {
    pub(super) required: bool,
    pub(super) contents: Vec<Content>,
}

/// A media type, what is in it, and an example.
pub(in crate::rest) struct Content {
    pub(super) media: &'static str,
    pub(super) schema: SchemaOf,
    pub(super) example: Option<Value>,
}

/// Makes a schema; its parts that have names are kept by the generator.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What comes back where all went well.
pub(in crate::rest) struct Answer {
    pub(super) status: u16,
    pub(super) text: &'static str,
    pub(super) contents: Vec<Content>,
    pub(super) headers: &'static [&'static str],
}

/// `Content-Type` of JSON.
const JSON: &str = "application/json";

// === impl Content ===

impl Content {
    /// JSON of this type.
    pub(in crate::rest) fn json<T: JsonSchema>() -> Self {
        Self::of::<T>(JSON)
    }

    /// What this type describes, in another media type.
    pub(in crate::rest) fn of<T: JsonSchema>(media: &'static str) -> Self {
        Self { media, schema: |generator| generator.subschema_for::<T>(), example: None }
    }

    /// With an example.
    pub(in crate::rest) fn example(self, example: Value) -> Self {
        Self { example: Some(example), ..self }
    }
}

// === impl Answer ===

impl Answer {
    /// An answer without content.
    pub(in crate::rest) fn new(status: u16, text: &'static str) -> Self {
        Self { status, text, contents: Vec::new(), headers: &[] }
    }

    /// With one more kind of content.
    pub(in crate::rest) fn with(mut self, content: Content) -> Self {
        self.contents.push(content);
        self
    }

    /// With these headers: names that the document knows.
    pub(in crate::rest) fn headers(self, headers: &'static [&'static str]) -> Self {
        Self { headers, ..self }
    }
}

// === impl Operation ===

macro_rules! methods {
    ($($name:ident $filter:ident)+) => {$(
        /// The method of that name, for who has the key of a namespace.
        pub(in crate::rest) fn $name<H, T>(
            id: &'static str,
            summary: &'static str,
            handler: H,
        ) -> Self
        where
            H: Handler<T, Arc<Hub>>,
            T: 'static,
        {
            Self {
                route: on(MethodFilter::$filter, handler),
                described: Described {
                    method: stringify!($name),
                    id,
                    summary,
                    details: "",
                    access: Access::Key,
                    parameters: Vec::new(),
                    body: None,
                    answers: Vec::new(),
                    errors: BTreeSet::new(),
                },
            }
        }
    )+};
}

impl Operation {
    methods! {
        get GET
        put PUT
        post POST
        delete DELETE
        options OPTIONS
    }

    /// More to say.
    pub(in crate::rest) fn details(mut self, details: &'static str) -> Self {
        self.described.details = details;
        self
    }

    /// Nobody needs to say who they are.
    pub(in crate::rest) fn for_anybody(mut self) -> Self {
        self.described.access = Access::Anybody;
        self
    }

    /// The trigger's own credential will do.
    pub(in crate::rest) fn for_senders(mut self) -> Self {
        self.described.access = Access::Sender;
        self
    }

    /// Takes these in its query or headers.
    pub(in crate::rest) fn with<const N: usize>(mut self, parameters: [Parameter; N]) -> Self {
        self.described.parameters.extend(parameters);
        self
    }

    /// Takes JSON of this type, which must be there.
    pub(in crate::rest) fn takes<T: JsonSchema>(self, example: Value) -> Self {
        self.body(true, [Content::json::<T>().example(example)])
    }

    /// Takes one of these, or nothing.
    pub(in crate::rest) fn takes_any<const N: usize>(self, contents: [Content; N]) -> Self {
        self.body(false, contents)
    }

    fn body<const N: usize>(mut self, required: bool, contents: [Content; N]) -> Self {
        self.described.body = Some(Body { required, contents: contents.into() });
        self
    }

    /// Answers 200 with JSON of this type.
    pub(in crate::rest) fn gives<T: JsonSchema>(self, text: &'static str) -> Self {
        self.answers(Answer::new(200, text).with(Content::json::<T>()))
    }

    /// Answers so.
    pub(in crate::rest) fn answers(mut self, answer: Answer) -> Self {
        self.described.answers.push(answer);
        self
    }

    /// Answers errors of these statuses, beside those that every operation of its kind has.
    pub(in crate::rest) fn fails<const N: usize>(mut self, statuses: [u16; N]) -> Self {
        self.described.errors.extend(statuses);
        self
    }
}

// === impl Described ===

impl Described {
    /// Statuses of all errors that it may answer at the path.
    pub(super) fn statuses(&self, template: &str) -> BTreeSet<u16> {
        let mut all = self.errors.clone();
        all.insert(500);
        if self.access != Access::Anybody {
            all.insert(401);
        }
        if template.contains('{') || !self.parameters.is_empty() {
            all.insert(400);
        }
        if template.contains("{ns}") {
            all.insert(403);
        }
        if self.body.is_some() {
            all.extend([400, 408, 413, 415]);
        }
        let inside = template.starts_with(crate::rest::frame::BASE);
        let json = |answer: &Answer| answer.contents.iter().any(|one| one.media == JSON);
        if inside && self.answers.iter().any(json) {
            all.insert(406);
        }
        all
    }
}
