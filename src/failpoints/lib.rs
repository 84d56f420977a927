//! Points at which a test ends the process, as abruptly as `kill -9` would: one before and one after each thing that clos does to the
//! world. Only a build with the feature `failpoints` knows this crate. Where the points stand is in the crates that reach them.
//!
//! A point is armed by the variable `FAILPOINTS`, as in `FAILPOINTS=before_start_container=return`; `2*off->return` is its third time.

use std::io::Write;

/// Everything that has a point before and a point after it, in two words: those that the line of a plan's step begins with.
pub const PLACES: [&str; 30] = [
    // A server's first start.
    "make credentials",
    "fill store",
    // Steps of plans.
    "pull image",
    "create network",
    "remove network",
    "create volume",
    "create container",
    "start container",
    "stop container",
    "unpause container",
    "remove container",
    "create instance",
    "update instance",
    "delete instance",
    "claim port",
    "release port",
    // Other writes of the controllers.
    "write status",
    "record pass",
    "release instance",
    "finalize group",
    // The garbage collector.
    "collect object",
    "free dependent",
    "drop finalizer",
    // The end of a namespace.
    "empty namespace",
    "delete events",
    "finalize namespace",
    // Sources.
    "apply object",
    "prune object",
    "release object",
    "write inventory",
];

/// What the log says when a point ended the process, before the point's name.
pub const KILLED: &str = "killed at failpoint";

/// Arms the points that the environment names. They are armed as long as the answer lives.
pub fn arm() -> impl Drop {
    fail::FailScenario::setup()
}

/// The process is about to do what these words begin with.
pub fn before(words: &str) {
    reached("before", words);
}

/// The process has just done, or tried to do, what these words begin with.
pub fn after(words: &str) {
    reached("after", words);
}

/// The name of a point, as `FAILPOINTS` takes it.
pub fn point(when: &str, place: &str) -> String {
    format!("{when}_{}", place.replace(' ', "_"))
}

fn reached(when: &str, words: &str) {
    let place = PLACES
        .into_iter()
        .find(|place| {
            words
                .strip_prefix(place)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
        .unwrap_or_else(|| panic!("{words:?} begins with none of the places"));
    let point = point(when, place);
    fail::fail_point!(&point, |_| kill(&point));
}

/// Ends the process without running anything that would tidy up.
fn kill(point: &str) {
    // The test reads where it ended; without a reader it ends all the same.
    let _ = writeln!(std::io::stderr(), "{KILLED} {point}");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_place_is_reached_twice_by_two_names_and_disarmed_points_do_nothing() {
        let armed = arm();
        let times = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&times);
        fail::cfg_callback("after_start_container", move || {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .unwrap();
        before("start container web");
        assert_eq!(times.load(Ordering::Relaxed), 0);
        after("start container web");
        assert_eq!(times.load(Ordering::Relaxed), 1);
        drop(armed);
        after("start container web");
        assert_eq!(times.load(Ordering::Relaxed), 1);
    }

    #[test]
    #[should_panic(expected = "begins with none of the places")]
    fn a_place_that_no_test_would_know_is_a_mistake() {
        before("do something else");
    }

    #[test]
    fn every_place_is_listed_once() {
        assert_eq!(PLACES.iter().collect::<BTreeSet<_>>().len(), PLACES.len());
    }
}
