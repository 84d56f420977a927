//! All objects that are waited for, and when the answer is known. Pure: the objects and the time go in, a verdict comes out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use clos_resources::names::LABEL_SERVICE;
use clos_resources::{Group, Instance, Service};

use super::progress::{Progress, Proof, Standing, of_group, of_service};

/// How long a failure must last until it is believed. What was applied together is seen by the server one after the other: for a moment
/// one object can be wrong because of another that was put right in the same apply.
const SETTLE: Duration = Duration::from_secs(1);

/// How long a service that failed before must run until that is believed, and the longest that any must: a program that cannot work runs
/// for a moment each time.
const LONGEST: Duration = Duration::from_secs(5);

/// An object that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A Group.
    Group {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl Subject {
    /// The namespace.
    pub(crate) fn namespace(&self) -> &str {
        match self {
            Self::Service { namespace, .. } | Self::Group { namespace, .. } => namespace,
        }
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Service { name, .. } | Self::Group { name, .. } => name,
        }
    }
}

/// `web`, and `group shop`; with the namespace in front when it is not the default one.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Group { .. } = self {
            f.write_str("group ")?;
        }
        match self.namespace() {
            "default" => f.write_str(self.name()),
            namespace => write!(f, "{namespace}/{}", self.name()),
        }
    }
}

/// The objects as they are.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    /// Services.
    pub(crate) services: &'a [&'a Service],
    /// Groups.
    pub(crate) groups: &'a [&'a Group],
    /// Instances.
    pub(crate) instances: &'a [&'a Instance],
}

impl World<'_> {
    fn standing(&self, subject: &Subject) -> Standing {
        let here = |metadata: &kube::api::ObjectMeta| {
            metadata.namespace.as_deref() == Some(subject.namespace())
        };
        let named = |metadata: &kube::api::ObjectMeta| {
            here(metadata) && metadata.name.as_deref() == Some(subject.name())
        };
        match subject {
            Subject::Group { .. } => of_group(
                self.groups
                    .iter()
                    .copied()
                    .find(|group| named(&group.metadata)),
            ),
            Subject::Service { name, .. } => {
                let of = |instance: &&&Instance| {
                    let labels = instance.metadata.labels.as_ref();
                    here(&instance.metadata)
                        && labels
                            .and_then(|labels| labels.get(LABEL_SERVICE))
                            .is_some_and(|service| service == name)
                };
                let instances: Vec<&Instance> = self.instances.iter().filter(of).copied().collect();
                of_service(
                    self.services
                        .iter()
                        .copied()
                        .find(|service| named(&service.metadata)),
                    &instances,
                )
            }
        }
    }
}

/// Whether the answer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not yet. Something may become believable at this time without anything else happening.
    Open(Option<Duration>),
    /// Everything is as declared.
    Done,
    /// Something failed.
    Failed,
}

/// What is known of each object so far.
#[derive(Debug)]
pub(crate) struct Tracker {
    tracked: BTreeMap<Subject, Option<Tracked>>,
    values_changed: bool,
}

/// What is known of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tracked {
    /// How it stands.
    pub(crate) standing: Standing,
    /// Since when it waits, is done or has failed, counted from the beginning.
    pub(crate) since: Duration,
    /// Whether that was so with the first look.
    pub(crate) from_the_first: bool,
}

impl Tracker {
    /// Waits for these. `values_changed`: `Secret`s or `ConfigMap`s were applied, too; a Service whose own declaration stayed the same still
    /// says that it is as declared until the server has looked at them.
    pub(crate) fn new(subjects: impl IntoIterator<Item = Subject>, values_changed: bool) -> Self {
        let tracked = subjects
            .into_iter()
            .map(|subject| (subject, None))
            .collect();
        Self {
            tracked,
            values_changed,
        }
    }

    /// The objects, with what is known of them.
    pub(crate) fn tracked(&self) -> impl Iterator<Item = (&Subject, &Tracked)> {
        self.tracked
            .iter()
            .filter_map(|(subject, tracked)| Some((subject, tracked.as_ref()?)))
    }

    /// The objects of which it is not believed yet that they are as declared; none is known of those that were not seen.
    pub(crate) fn open(&self, now: Duration) -> impl Iterator<Item = (&Subject, Option<&Tracked>)> {
        self.tracked
            .iter()
            .map(|(subject, tracked)| (subject, tracked.as_ref()))
            .filter(move |(_, tracked)| {
                tracked.is_none_or(|tracked| {
                    let done = matches!(tracked.standing.progress, Progress::Done { .. });
                    !done || self.settled(tracked).is_none_or(|settled| settled > now)
                })
            })
    }

    /// All objects.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Subject> + Clone {
        self.tracked.keys()
    }

    /// Looks at the objects; `now` counts from the beginning.
    pub(crate) fn look(&mut self, world: World<'_>, now: Duration) -> Verdict {
        for (subject, tracked) in &mut self.tracked {
            let standing = world.standing(subject);
            let kind = std::mem::discriminant(&standing.progress);
            let (since, from_the_first) = match tracked {
                None => (now, true),
                Some(before) if std::mem::discriminant(&before.standing.progress) == kind => {
                    (before.since, before.from_the_first)
                }
                Some(_) => (now, false),
            };
            *tracked = Some(Tracked {
                standing,
                since,
                from_the_first,
            });
        }
        self.verdict(now)
    }

    fn verdict(&self, now: Duration) -> Verdict {
        let mut open = None;
        let mut waiting = false;
        for (_, tracked) in self.tracked() {
            let Some(settled) = self.settled(tracked) else {
                waiting = true;
                continue;
            };
            if settled > now {
                waiting = true;
                open = Some(open.map_or(settled, |first: Duration| first.min(settled)));
            } else if let Progress::Failed { .. } = &tracked.standing.progress {
                return Verdict::Failed;
            }
        }
        if waiting {
            Verdict::Open(open)
        } else {
            Verdict::Done
        }
    }

    /// When it is believed that an object is as it seems, if it stays so; never for one that is on its way.
    fn settled(&self, tracked: &Tracked) -> Option<Duration> {
        let settle = match &tracked.standing.progress {
            Progress::Waiting { .. } => return None,
            Progress::Failed { .. } => SETTLE,
            Progress::Done { proof, .. } => match proof {
                Proof::RunsAgain => LONGEST,
                // Where it takes long until a program runs, its end is noticed late, too.
                Proof::Runs if !tracked.from_the_first || self.values_changed => {
                    tracked.since.clamp(SETTLE, LONGEST)
                }
                Proof::Final if self.values_changed => SETTLE,
                Proof::Runs | Proof::Final => Duration::ZERO,
            },
        };
        Some(tracked.since + settle)
    }
}

#[cfg(test)]
mod tests {
    use clos_resources::conditions::Reason;

    use super::super::progress::tests::{group, instance, service};
    use super::*;

    fn web() -> Subject {
        Subject::Service {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
        }
    }

    fn shop() -> Subject {
        Subject::Group {
            namespace: "default".to_owned(),
            name: "shop".to_owned(),
        }
    }

    fn look(
        tracker: &mut Tracker,
        of_web: &Service,
        of_shop: &Group,
        milliseconds: u64,
    ) -> Verdict {
        let failing = instance(Reason::ImagePullFailed, "", 0);
        let world = World {
            services: &[of_web],
            groups: &[of_shop],
            instances: &[&failing],
        };
        tracker.look(world, Duration::from_millis(milliseconds))
    }

    #[test]
    fn it_is_done_when_everything_is_as_declared() {
        let mut tracker = Tracker::new([web(), shop()], false);
        let (starting, running) = (
            service("0/2", Reason::Progressing, "", 2),
            service("2/2", Reason::Ready, "", 2),
        );
        assert_eq!(
            look(&mut tracker, &starting, &group(Reason::Progressing, ""), 0),
            Verdict::Open(None)
        );
        assert_eq!(
            look(&mut tracker, &running, &group(Reason::Progressing, ""), 10),
            Verdict::Open(Some(Duration::from_millis(1010)))
        );
        assert_eq!(
            look(&mut tracker, &running, &group(Reason::Ready, ""), 20),
            Verdict::Open(Some(Duration::from_millis(1010)))
        );
        assert_eq!(
            look(&mut tracker, &running, &group(Reason::Ready, ""), 1020),
            Verdict::Done
        );
    }

    #[test]
    fn what_was_as_declared_already_is_believed_at_once() {
        let mut tracker = Tracker::new([web(), shop()], false);
        let running = service("2/2", Reason::Ready, "", 2);
        let fine = group(Reason::Ready, "");
        assert_eq!(look(&mut tracker, &running, &fine, 10), Verdict::Done);
    }

    #[test]
    fn what_failed_before_is_believed_when_it_has_run_for_a_while() {
        let mut tracker = Tracker::new([web()], false);
        let running = service("2/2", Reason::Ready, "", 2);
        let again = instance(Reason::Ready, "", 1);
        let mut look = |milliseconds| {
            let world = World {
                services: &[&running],
                groups: &[],
                instances: &[&again],
            };
            tracker.look(world, Duration::from_millis(milliseconds))
        };
        assert_eq!(look(10), Verdict::Open(Some(Duration::from_millis(5010))));
        assert_eq!(look(5009), Verdict::Open(Some(Duration::from_millis(5010))));
        assert_eq!(look(5010), Verdict::Done);
    }

    #[test]
    fn what_took_long_to_run_is_believed_later() {
        let fine = group(Reason::Ready, "");
        let starting = service("0/2", Reason::Progressing, "", 2);
        let running = service("2/2", Reason::Ready, "", 2);
        for (took, believed) in [(400, 1400), (4500, 9000), (60_000, 65_000)] {
            let mut tracker = Tracker::new([web()], false);
            look(&mut tracker, &starting, &fine, 0);
            assert_eq!(
                look(&mut tracker, &running, &fine, took),
                Verdict::Open(Some(Duration::from_millis(believed)))
            );
        }
    }

    #[test]
    fn what_is_open_is_on_its_way_or_not_believed_yet() {
        let mut tracker = Tracker::new([web(), shop()], false);
        assert_eq!(tracker.open(Duration::ZERO).count(), 2, "nothing was seen");
        look(
            &mut tracker,
            &service("0/2", Reason::Progressing, "", 2),
            &group(Reason::Ready, ""),
            0,
        );
        let running = service("2/2", Reason::Ready, "", 2);
        let mut open_at = |milliseconds| {
            look(
                &mut tracker,
                &running,
                &group(Reason::Ready, ""),
                milliseconds,
            );
            tracker
                .open(Duration::from_millis(milliseconds))
                .map(|(subject, _)| subject.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(open_at(10), ["web"]);
        assert_eq!(open_at(1010), [""; 0]);
    }

    #[test]
    fn a_failure_is_believed_when_it_lasts() {
        let mut tracker = Tracker::new([web()], false);
        let denied = service("0/2", Reason::ImagePullFailed, "denied", 2);
        let fine = group(Reason::Ready, "");
        assert_eq!(
            look(&mut tracker, &denied, &fine, 100),
            Verdict::Open(Some(Duration::from_millis(1100)))
        );
        assert_eq!(
            look(
                &mut tracker,
                &service("0/2", Reason::Progressing, "", 2),
                &fine,
                900
            ),
            Verdict::Open(None)
        );
        assert_eq!(
            look(&mut tracker, &denied, &fine, 1200),
            Verdict::Open(Some(Duration::from_millis(2200)))
        );
        assert_eq!(look(&mut tracker, &denied, &fine, 2200), Verdict::Failed);
    }

    #[test]
    fn what_looks_done_is_believed_later_when_values_were_applied_too() {
        let mut tracker = Tracker::new([web()], true);
        let (running, fine) = (
            service("2/2", Reason::Ready, "", 2),
            group(Reason::Ready, ""),
        );
        assert_eq!(
            look(&mut tracker, &running, &fine, 0),
            Verdict::Open(Some(Duration::from_secs(1)))
        );
        assert_eq!(look(&mut tracker, &running, &fine, 1000), Verdict::Done);
    }

    #[test]
    fn the_answer_is_known_with_the_first_failure_whatever_the_others_do() {
        let mut tracker = Tracker::new([web(), shop()], false);
        let denied = service("0/2", Reason::ImagePullFailed, "denied", 2);
        look(&mut tracker, &denied, &group(Reason::Progressing, ""), 0);
        assert_eq!(
            look(&mut tracker, &denied, &group(Reason::Progressing, ""), 1000),
            Verdict::Failed
        );
    }

    #[test]
    fn subjects_are_named_with_their_namespace_when_it_is_not_the_default_one() {
        let other = Subject::Service {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        assert_eq!(
            [web().to_string(), shop().to_string(), other.to_string()],
            ["web", "group shop", "shop/web"]
        );
    }
}
