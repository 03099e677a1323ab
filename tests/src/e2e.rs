//! End to end over HTTP and the command line: a hub in a room of its own, who calls it, how to wait.
//!
//! `place`: the hub's process. `caller`: requests as they come, good and bad. `entities`: what most
//! tests set up and look at. `page`: the documentation's examples. `service`: a real Kafka or CouchDB. `wait`: for a condition, within a bound.

pub mod caller;
pub mod client;
pub mod entities;
pub mod page;
pub mod place;
pub mod service;
pub mod wait;
