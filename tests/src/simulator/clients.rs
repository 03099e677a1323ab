//! The clients: each request is sent again until it is acknowledged, whatever happens between.

use evoke_schemas::{Data, Event, FullName, event::Attribute};
use evoke_trigger_engine::{Incoming, Origin, Target};

use super::plan::{Address, Plan, PlannedEvent, name};
use super::witness::Token;

const SOURCE: &str = "/simulator";
/// Source of what the feed brings.
pub const FEED_SOURCE: &str = "/feed";
/// First token of events that a repetition carries because the hub may not tell it apart.
const FRESH: u32 = 1_000_000;

/// All clients of a world.
#[derive(Debug)]
pub struct Clients {
    posts: Vec<State>,
    /// How often each was refused.
    refusals: Vec<u32>,
    open: usize,
    fresh: u32,
}

/// How far a post is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Sent(Vec<Token>),
    Acknowledged,
}

// === impl Clients ===

impl Clients {
    /// The clients of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let open = plan.posts.len();
        Self { posts: vec![State::Waiting; open], refusals: vec![0; open], open, fresh: FRESH }
    }

    /// Sends a post; nothing where it is acknowledged or under way.
    pub fn send(&mut self, plan: &Plan, post: usize) -> Option<(Vec<Token>, Vec<Incoming>)> {
        if self.posts[post] != State::Waiting {
            return None;
        }
        let planned = &plan.posts[post];
        let (mut tokens, mut events) = (Vec::new(), Vec::new());
        for event in &planned.events {
            let mut event = *event;
            if !event.dedup {
                event.token = Token(self.fresh);
                self.fresh += 1;
            }
            tokens.push(event.token);
            events.push(incoming(plan, &planned.address, &event));
        }
        self.posts[post] = State::Sent(tokens.clone());
        Some((tokens, events))
    }

    /// A post is acknowledged; gives what it carried.
    pub fn acknowledged(&mut self, post: usize) -> Vec<Token> {
        match std::mem::replace(&mut self.posts[post], State::Acknowledged) {
            State::Sent(tokens) => {
                self.open -= 1;
                tokens
            }
            State::Waiting | State::Acknowledged => Vec::new(),
        }
    }

    /// A post was refused: it is to be sent again, after so many milliseconds.
    pub fn refused(&mut self, post: usize) -> u64 {
        self.posts[post] = State::Waiting;
        self.refusals[post] += 1;
        100 << self.refusals[post].min(12)
    }

    /// The hub died; gives the posts that were under way, to be sent again.
    pub fn hub_died(&mut self) -> Vec<usize> {
        let under_way = |(post, state): (usize, &mut State)| {
            matches!(state, State::Sent(_)).then(|| {
                *state = State::Waiting;
                post
            })
        };
        self.posts.iter_mut().enumerate().filter_map(under_way).collect()
    }

    /// Posts that are not acknowledged.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }
}

/// Whether an event is a client's or a feed's, not one that the hub made itself.
#[must_use]
pub fn is_theirs(event: &Event) -> bool {
    event.source == SOURCE || event.source == FEED_SOURCE
}

fn incoming(plan: &Plan, address: &Address, planned: &PlannedEvent) -> Incoming {
    let text = planned.token.text();
    let mut event = Event::new(text.clone(), SOURCE, "simulated");
    event.data = Data::Json(format!("{{\"t\":\"{text}\"}}").into());
    if let Some(key) = planned.key {
        let key = Attribute::Text(format!("k{key}"));
        event.extensions.insert("partitionkey".to_owned(), key);
    }
    let (namespace, target) = match address {
        Address::Trigger(index) => {
            let trigger = &plan.triggers[*index];
            (trigger.namespace.clone(), Target::Trigger(trigger.name.clone()))
        }
        Address::Action(namespace) => {
            let action = FullName::new(namespace.clone(), name("direct"));
            (namespace.clone(), Target::Action(action))
        }
    };
    Incoming {
        namespace,
        target,
        event,
        origin: Origin::CloudEvent,
        headers: None,
        subject: "simulator".to_owned(),
        dedup: planned.dedup,
    }
}
