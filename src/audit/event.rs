//! One audit event, its shape in JSON and its bounds. Where it is kept is the journal's part.

use std::net::IpAddr;

use clos_auth::Identity;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde::{Deserialize, Serialize};

use crate::object::Object;
use crate::redact::Redactor;

const MAX_TEXT: usize = 4096;
const MAX_ACTION: usize = 1024;
const MAX_ACTIONS: usize = 100;
const MAX_LABEL: usize = 256;

/// Something that was done, tried or refused.
///
/// Its parts are facts about the act, never contents: no spec, no environment, no header. The free
/// texts are masked by the [`Redactor`] and cut to their bounds when the event is recorded.
///
/// ```
/// # use clos_audit::{Event, ObjectRef, Outcome};
/// # let controller = clos_auth::Identity::component("controller:instance");
/// let object = ObjectRef::new("clos.dev", "v1alpha1", "Instance").in_namespace("default").named("web-0");
/// let event = Event {
///     cause: Some("container died: exit 137, not asked for by clos".to_owned()),
///     actions: vec!["start container clos_default_web-0".to_owned()],
///     ..Event::new(&controller, "reconcile", object, Outcome::Repaired)
/// };
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Who, as [`Identity`] prints: `user:admin`, `controller:instance`.
    pub actor: String,
    /// What: `reconcile`, or the verb of an API request.
    pub verb: String,
    /// To what.
    pub object: Object,
    /// The object's UID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Why, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What was done, one line each, as in a plan; at most 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// How it ended.
    pub result: Outcome,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The API request this was, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
}

/// How an act ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// A request was permitted and carried out.
    Allowed,
    /// It was refused: not permitted, or against a policy.
    Denied,
    /// It was tried and did not work.
    Failed,
    /// Running state was brought to what is declared, because the declaration changed.
    Changed,
    /// Running state was brought back to what is declared, because it had drifted.
    Repaired,
    /// There was nothing to do.
    Unchanged,
}

/// What is known of an API request besides its verb and object. Nothing of it is to be trusted
/// but the address and the code.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// The request's id, as it is answered in `X-Request-ID`.
    pub id: String,
    /// The peer's address; none for requests within the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// What the client calls itself; cut to 256 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The HTTP status of the answer.
    pub code: u16,
    /// The reason in a Kubernetes `Status`, such as `Forbidden`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An event as the journal keeps it: one line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number; numbers have no gaps and never come back.
    pub seq: u64,
    /// When it was recorded, to the millisecond; when it happened, if the disk was full then.
    #[serde(with = "milliseconds")]
    pub time: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// How many passes over the object have found nothing to do, or failed as told before, since its last event.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub noops: u64,
}

impl Event {
    /// An event with its necessary parts; the others are set by struct update.
    pub fn new(actor: &Identity, verb: &str, object: impl Into<Object>, result: Outcome) -> Self {
        Self {
            actor: actor.to_string(),
            verb: verb.to_owned(),
            object: object.into(),
            uid: None,
            cause: None,
            actions: Vec::new(),
            result,
            duration_ms: None,
            request: None,
        }
    }

    /// The event as it may be kept: secrets masked, then everything cut to its bounds. In this
    /// order, because half a secret is not recognised.
    fn presentable(self, redactor: &Redactor) -> Self {
        let text = |text: &str, limit| shown(&redactor.mask(text), limit);
        let mut actions: Vec<String> = self
            .actions
            .iter()
            .take(MAX_ACTIONS)
            .map(|action| text(action, MAX_ACTION))
            .collect();
        if self.actions.len() > MAX_ACTIONS {
            let more = self.actions.len() - MAX_ACTIONS;
            actions.push(format!("… {more} more"));
        }
        Self {
            actor: shown(&self.actor, MAX_LABEL),
            verb: shown(&self.verb, MAX_LABEL),
            object: self.object,
            uid: self.uid.map(|uid| shown(&uid, MAX_LABEL)),
            cause: self.cause.map(|cause| text(&cause, MAX_TEXT)),
            actions,
            result: self.result,
            duration_ms: self.duration_ms,
            request: self.request.map(|request| Request {
                id: text(&request.id, MAX_LABEL),
                source: request.source,
                user_agent: request.user_agent.map(|agent| text(&agent, MAX_LABEL)),
                code: request.code,
                reason: request.reason.map(|reason| text(&reason, MAX_TEXT)),
            }),
        }
    }
}

impl Entry {
    pub(crate) fn new(
        seq: u64,
        time: Timestamp,
        event: Event,
        noops: u64,
        redactor: &Redactor,
    ) -> Self {
        Self {
            seq,
            time: to_milliseconds(time),
            event: event.presentable(redactor),
            noops,
        }
    }

    /// The event as one line of JSON, without a line end.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and lists always have a JSON form")
    }
}

/// `text` cut to `limit` characters and without those that a viewer would obey instead of show.
/// Control characters below U+0020 stay: JSON escapes them.
fn shown(text: &str, limit: usize) -> String {
    let mut characters = text.chars();
    let mut shown: String = characters
        .by_ref()
        .take(limit)
        .map(|character| match character {
            '\u{7f}'..='\u{9f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => char::REPLACEMENT_CHARACTER,
            other => other,
        })
        .collect();
    if characters.next().is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

fn to_milliseconds(time: Timestamp) -> Timestamp {
    let round = TimestampRound::new()
        .smallest(Unit::Millisecond)
        .mode(RoundMode::Trunc);
    time.round(round).unwrap_or(time)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

mod milliseconds {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{time:.3}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}
