//! Kubernetes Events: the story of an object for `kubectl describe`. Told when something happened, never by a pass that found nothing to
//! do. An Event that cannot be written is logged and lost; nothing waits for it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clos_audit::Redactor;
use clos_telemetry::Chain;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

/// News of one kind are counted as one Event while they come within this of each other, as Kubernetes' own components do.
const SERIES: SignedDuration = SignedDuration::from_mins(6);

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

/// Whoever tells news.
pub(crate) struct Events {
    client: Client,
    host: String,
    redactor: Redactor,
    clock: fn() -> Timestamp,
    told: Mutex<Told>,
}

/// What was told lately, by kind.
#[derive(Debug, Default)]
struct Told {
    kinds: BTreeMap<String, Series>,
    /// When what is too old to be counted on was dropped the last time.
    cleared: Timestamp,
}

/// An Event and how often it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Series {
    event: String,
    count: i32,
    last: Timestamp,
}

impl Events {
    /// Events of the controllers of one host, without what `redactor` knows to be secret.
    pub(crate) fn new(
        client: Client,
        host: String,
        redactor: Redactor,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            client,
            host,
            redactor,
            clock,
            told: Mutex::default(),
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
        for news in news {
            match self.publish(teller, about, related, news).await {
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

    async fn publish(
        &self,
        teller: &str,
        about: &ObjectReference,
        related: Option<&ObjectReference>,
        news: &News,
    ) -> Result<(), kube::Error> {
        let now = (self.clock)();
        let note = self.redactor.mask(&news.note);
        let kind = kind(teller, about, related, news, &note);
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let series = self.told().again(&kind, now);
        if let Some(series) = series {
            let counted =
                json!({ "series": { "count": series.count, "lastObservedTime": MicroTime(now) } });
            let patch = Patch::Merge(&counted);
            match api
                .patch(&series.event, &PatchParams::default(), &patch)
                .await
            {
                // Somebody removed it: it is told anew.
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                answer => {
                    answer?;
                    self.told().kinds.insert(kind, series);
                    return Ok(());
                }
            }
        }
        let name = about.name.as_deref().unwrap_or(teller);
        let event = Event {
            action: Some(news.action.to_owned()),
            event_time: Some(MicroTime(now)),
            metadata: ObjectMeta {
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            note: Some(shortened(&note, 1024)),
            reason: Some(news.reason.to_owned()),
            regarding: Some(about.clone()),
            related: related.cloned(),
            reporting_controller: Some(teller.to_owned()),
            reporting_instance: Some(self.host.clone()),
            type_: Some(if news.warning { "Warning" } else { "Normal" }.to_owned()),
            ..Event::default()
        };
        api.create(&PostParams::default(), &event).await?;
        let first = Series {
            event: event.metadata.name.unwrap_or_default(),
            count: 1,
            last: now,
        };
        self.told().kinds.insert(kind, first);
        Ok(())
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Told {
    /// The series that news of this kind go on, counted with them; `None` when they begin one.
    fn again(&mut self, kind: &str, now: Timestamp) -> Option<Series> {
        let recent = |series: &Series| now.duration_since(series.last) < SERIES;
        // Not each time: what it costs depends on how much there is.
        if now.duration_since(self.cleared) >= SERIES {
            self.cleared = now;
            self.kinds.retain(|_, series| recent(series));
        }
        let series = self.kinds.get(kind).filter(|series| recent(series))?;
        Some(Series {
            event: series.event.clone(),
            count: series.count.saturating_add(1),
            last: now,
        })
    }
}

/// The kind of news by which they are counted: of one kind the first note alone is ever shown, so what the note says without its figures is a
/// part of it.
fn kind(
    teller: &str,
    about: &ObjectReference,
    related: Option<&ObjectReference>,
    news: &News,
    note: &str,
) -> String {
    let uid = |object: &ObjectReference| object.uid.clone().unwrap_or_default();
    let has_figures = |word: &&str| word.contains(|letter: char| letter.is_ascii_digit());
    let words = note.split_whitespace().filter(|word| !has_figures(word));
    let words: Vec<&str> = words.collect();
    [
        teller,
        &uid(about),
        &related.map(uid).unwrap_or_default(),
        news.reason,
        news.action,
        &words.join(" "),
    ]
    .join("\n")
}

/// A note has at most 1024 bytes.
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
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn object(uid: &str) -> ObjectReference {
        ObjectReference {
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        }
    }

    #[test]
    fn a_note_has_at_most_1024_bytes_and_is_cut_between_characters() {
        assert_eq!(shortened("short", 1024), "short");
        let cut = shortened(&"ä".repeat(800), 1024);
        assert!(cut.len() <= 1024 && cut.ends_with('…'), "{}", cut.len());
    }

    #[test]
    fn news_are_of_one_kind_when_their_notes_differ_in_figures_alone() {
        let news = News {
            warning: false,
            reason: "Repaired",
            action: "Repair",
            note: String::new(),
        };
        let of = |uid, note| kind("instance/web-0", &object(uid), None, &news, note);
        let usual = of("u", "started again in 730 ms (1 action)");
        assert_eq!(usual, of("u", "started again in 42 ms (2 action)"));
        assert_ne!(usual, of("u", "thawed in 730 ms (1 action)"));
        assert_ne!(usual, of("v", "started again in 730 ms (1 action)"));
    }

    #[test]
    fn news_go_on_a_series_until_six_minutes_pass_without_any() {
        let mut told = Told::default();
        assert_eq!(told.again("a", at(1000)), None);
        let first = |last| Series {
            event: "web.1".to_owned(),
            count: 1,
            last: at(last),
        };
        told.kinds.insert("a".to_owned(), first(1000));
        let second = told.again("a", at(1100)).unwrap();
        assert_eq!((second.count, second.last), (2, at(1100)));
        assert_eq!(told.again("a", at(1360)), None, "too late");
        told.kinds.insert("b".to_owned(), first(1300));
        assert_eq!(told.again("c", at(1400)), None);
        let kept: Vec<&String> = told.kinds.keys().collect();
        assert_eq!(kept, ["b"], "what is too old is dropped");
    }
}
