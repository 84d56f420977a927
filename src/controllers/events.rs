//! Kubernetes Events: the story of an object for `kubectl describe`. Told when something happened, never by a pass that found nothing to
//! do. An Event that cannot be written is logged and lost; nothing waits for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use clos_audit::Redactor;
use clos_telemetry::Chain;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// Something worth telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// Whether somebody should look at it.
    pub(crate) warning: bool,
    /// What happened, in one word.
    pub(crate) reason: &'static str,
    /// Which kind of it: news of the same reason and kind whose notes differ in figures alone are told once and counted.
    pub(crate) action: &'static str,
    /// What happened, in a sentence.
    pub(crate) note: String,
}

/// Whoever tells news. Each teller's news are counted apart.
pub(crate) struct Events {
    client: Client,
    host: String,
    redactor: Redactor,
    recorders: Mutex<BTreeMap<String, Recorder>>,
}

impl Events {
    /// Events of the controllers of one host, without what `redactor` knows to be secret.
    pub(crate) fn new(client: Client, host: String, redactor: Redactor) -> Self {
        Self {
            client,
            host,
            redactor,
            recorders: Mutex::default(),
        }
    }

    /// Tells news about an object, from `teller` (which `kubectl describe` shows), related to another object.
    pub(crate) async fn tell(
        &self,
        teller: &str,
        about: &ObjectReference,
        related: Option<&ObjectReference>,
        news: &[News],
    ) {
        let recorder = self.recorder(teller);
        for news in news {
            let event = Event {
                type_: if news.warning {
                    EventType::Warning
                } else {
                    EventType::Normal
                },
                reason: news.reason.to_owned(),
                note: Some(shortened(&self.redactor.mask(&news.note), 1024)),
                action: kind(news.action, &self.redactor.mask(&news.note)),
                secondary: related.cloned(),
            };
            match recorder.publish(&event, about).await {
                Ok(()) => {}
                // A namespace that is being deleted takes no more events.
                Err(kube::Error::Api(status)) if status.is_forbidden() || status.is_not_found() => {
                }
                Err(error) => {
                    tracing::warn!(reason = news.reason, error = %Chain(&error), "cannot write an event");
                }
            }
        }
    }

    /// Forgets a teller.
    pub(crate) fn forget(&self, teller: &str) {
        self.recorders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(teller);
    }

    fn recorder(&self, teller: &str) -> Recorder {
        let mut recorders = self
            .recorders
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let reporter = Reporter {
                controller: teller.to_owned(),
                instance: Some(self.host.clone()),
            };
            Recorder::new(self.client.clone(), reporter)
        };
        recorders
            .entry(teller.to_owned())
            .or_insert_with(make)
            .clone()
    }
}

/// The kind of news by which they are counted, as an Event's action: of news of one kind the first note alone is ever shown, so what the
/// note says without its figures is a part of it.
fn kind(action: &str, note: &str) -> String {
    let has_figures = |word: &&str| word.contains(|letter: char| letter.is_ascii_digit());
    let words = note.split_whitespace().filter(|word| !has_figures(word));
    let words: Vec<&str> = words.collect();
    shortened(&format!("{action}: {}", words.join(" ")), 128)
}

/// A note has at most 1024 bytes, an action 128.
fn shortened(text: &str, longest: usize) -> String {
    if text.len() <= longest {
        return text.to_owned();
    }
    let mut end = longest - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::{kind, shortened};

    #[test]
    fn a_note_has_at_most_1024_bytes_and_is_cut_between_characters() {
        assert_eq!(shortened("short", 1024), "short");
        let cut = shortened(&"ä".repeat(800), 1024);
        assert!(cut.len() <= 1024 && cut.ends_with('…'), "{}", cut.len());
    }

    #[test]
    fn news_are_of_one_kind_when_their_notes_differ_in_figures_alone() {
        let of = |note| kind("Repair", note);
        assert_eq!(
            of("started again in 730 ms (1 action)"),
            of("started again in 42 ms (2 action)")
        );
        assert_ne!(
            of("started again in 730 ms (1 action)"),
            of("thawed in 730 ms (1 action)")
        );
        assert!(of(&"ä".repeat(800)).len() <= 128);
    }
}
