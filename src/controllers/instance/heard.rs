//! What the agent saw of an Instance's container last, and whether anything was heard of it since: a look at what was seen a moment ago
//! would show the same. What a look is used for is not here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clos_engine::engine::Scope;
use clos_plan::observed::Observed;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::gate::Doubts;

/// A look is good for so long when nothing was heard since: for the passes that follow the one that made it.
const FRESH: Duration = Duration::from_secs(2);

/// What is heard and seen, by UID.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    instances: Mutex<BTreeMap<String, Sounds>>,
    /// When a look began and whose it was, the oldest first: those that are kept, and some that others have replaced.
    looks: Mutex<VecDeque<(Instant, String)>>,
    looked: Notify,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Sounds {
    /// How often something was heard.
    heard: u64,
    runs: Runs,
    seen: Option<Box<Seen>>,
}

/// How often a container was started and has ended, as far as that was heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs {
    pub(crate) starts: u64,
    pub(crate) ends: u64,
}

/// A look, and what was known when it began.
#[derive(Debug)]
struct Seen {
    scope: Scope,
    observed: Observed,
    heard: u64,
    doubts: Doubts,
    began: Instant,
}

/// Where things stand when a look begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    heard: u64,
    doubts: Doubts,
    at: Instant,
}

impl Heard {
    /// Something happened that a look may show.
    pub(crate) fn something(&self, uid: &str) {
        self.of(uid, |sounds| sounds.heard += 1);
    }

    /// Its container was started.
    pub(crate) fn start(&self, uid: &str) {
        self.of(uid, |sounds| sounds.runs.starts += 1);
        self.changed.notify_waiters();
    }

    /// Its container ended.
    pub(crate) fn end(&self, uid: &str) {
        self.of(uid, |sounds| sounds.runs.ends += 1);
        self.changed.notify_waiters();
    }

    /// Anything may have happened to everybody.
    pub(crate) fn gap(&self) {
        for sounds in self.lock().values_mut() {
            sounds.heard += 1;
        }
    }

    /// How often its container was started and has ended so far.
    pub(crate) fn runs(&self, uid: &str) -> Runs {
        self.lock()
            .get(uid)
            .map_or_else(Runs::default, |sounds| sounds.runs)
    }

    /// Waits until that is so.
    pub(crate) async fn until(&self, uid: &str, so: impl Fn(Runs) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if so(self.runs(uid)) {
                return;
            }
            changed.await;
        }
    }

    /// To be asked before a look.
    pub(crate) fn begin(&self, uid: &str, doubts: Doubts) -> Beginning {
        Beginning {
            heard: self.of(uid, |sounds| sounds.heard),
            doubts,
            at: Instant::now(),
        }
    }

    /// What a look showed.
    pub(crate) fn saw(&self, scope: &Scope, beginning: Beginning, observed: &Observed) {
        let seen = Seen {
            scope: scope.clone(),
            observed: observed.clone(),
            heard: beginning.heard,
            doubts: beginning.doubts,
            began: beginning.at,
        };
        let uid = &scope.instance_uid;
        self.of(uid, |sounds| sounds.seen = Some(Box::new(seen)));
        locked(&self.looks).push_back((beginning.at, uid.clone()));
        self.looked.notify_one();
    }

    /// What the last look showed, if one now would show the same.
    pub(crate) fn still(&self, scope: &Scope, doubts: Doubts) -> Option<Observed> {
        let instances = self.lock();
        let sounds = instances.get(&scope.instance_uid)?;
        let seen = sounds.seen.as_ref()?;
        let still = seen.heard == sounds.heard
            && seen.doubts == doubts
            && seen.scope == *scope
            && seen.began.elapsed() < FRESH;
        still.then(|| seen.observed.clone())
    }

    /// Waits until a look is good for nothing any more, and forgets all that are.
    pub(crate) async fn fade(&self) {
        loop {
            let oldest = locked(&self.looks).front().map(|(began, _)| *began);
            match oldest {
                Some(began) => break sleep_until(began + FRESH).await,
                // A permit that comes before is kept.
                None => self.looked.notified().await,
            }
        }
        let mut looks = locked(&self.looks);
        let mut instances = self.lock();
        while let Some((_, uid)) = looks.pop_front_if(|(began, _)| began.elapsed() >= FRESH) {
            if let Some(sounds) = instances.get_mut(&uid) {
                sounds.seen.take_if(|seen| seen.began.elapsed() >= FRESH);
            }
        }
    }

    /// The Instance does not exist any more.
    pub(crate) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn of<T>(&self, uid: &str, change: impl FnOnce(&mut Sounds) -> T) -> T {
        change(self.lock().entry(uid.to_owned()).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Sounds>> {
        locked(&self.instances)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::gate::Gate;

    fn scope(image: &str) -> Scope {
        Scope {
            instance_uid: "u".to_owned(),
            container_name: "clos_default_web-0".to_owned(),
            network_name: "clos_default_shop".to_owned(),
            volumes: Vec::new(),
            image: Some(image.to_owned()),
        }
    }

    /// Whether a look is still good after this.
    async fn good_after(change: impl AsyncFnOnce(&Heard, &Gate)) -> bool {
        let (heard, gate) = (Heard::default(), Gate::new(Timestamp::UNIX_EPOCH));
        let beginning = heard.begin("u", gate.doubts());
        heard.saw(&scope("web:1"), beginning, &Observed::default());
        change(&heard, &gate).await;
        heard.still(&scope("web:1"), gate.doubts()).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_is_good_until_anything_is_heard_or_doubted_or_two_seconds_are_over() {
        assert!(good_after(async |_, _| {}).await);
        assert!(good_after(async |heard, _| heard.something("another")).await);
        assert!(!good_after(async |heard, _| heard.something("u")).await);
        assert!(!good_after(async |heard, _| heard.gap()).await);
        assert!(!good_after(async |_, gate| gate.doubt(Timestamp::UNIX_EPOCH, "why")).await);
        assert!(!good_after(async |_, _| tokio::time::advance(FRESH).await).await);
        let other = async |heard: &Heard, gate: &Gate| {
            assert!(heard.still(&scope("web:2"), gate.doubts()).is_none());
        };
        assert!(good_after(other).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_is_forgotten_when_it_is_good_for_nothing_any_more_and_a_later_one_kept() {
        let (heard, gate) = (Heard::default(), Gate::new(Timestamp::UNIX_EPOCH));
        let kept = |uid: &str| heard.of(uid, |sounds| sounds.seen.is_some());
        let look = |uid: &str| {
            let scope = Scope {
                instance_uid: uid.to_owned(),
                ..scope("web:1")
            };
            heard.saw(
                &scope,
                heard.begin(uid, gate.doubts()),
                &Observed::default(),
            );
        };
        for uid in ["once", "again"] {
            look(uid);
        }
        tokio::time::advance(FRESH / 2).await;
        look("again");
        heard.fade().await;
        assert_eq!([kept("once"), kept("again")], [false, true]);
        heard.fade().await;
        assert!(!kept("again"));
        let late = async {
            tokio::time::sleep(FRESH).await;
            look("late");
        };
        tokio::join!(heard.fade(), late);
        assert!(!kept("late"), "one that comes later is waited for");
    }

    #[tokio::test]
    async fn an_end_is_waited_for() {
        let heard = Heard::default();
        let another = |runs: Runs| runs.ends > 0;
        tokio::join!(heard.until("u", another), async {
            heard.start("u");
            heard.end("u");
        });
        heard.until("u", another).await;
    }
}
