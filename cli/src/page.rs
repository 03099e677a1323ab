//! Which part of a list, newest first.

use clap::Args;

use crate::hub::{MAX_LIST, Request};

/// A part of a list.
#[derive(Clone, Debug, Args)]
pub struct Page {
    /// Most items, 200 at most.
    #[arg(long, value_name = "N", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=MAX_LIST as u64))]
    limit: u64,
    /// Items to pass over.
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
}

impl Page {
    pub(crate) fn ask<'a>(&self, request: Request<'a>) -> Request<'a> {
        request.query("limit", self.limit).query("skip", self.skip)
    }
}
