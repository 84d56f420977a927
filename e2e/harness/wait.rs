//! Waiting for conditions, never for times.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until `probe` gives something, and gives that. A test that waits too long says for what.
pub fn wait_until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_until_within(PATIENCE, what, probe)
}

/// As [`wait_until`], with a patience of its own: where how long something may take is what is tested.
pub fn wait_until_within<T>(
    patience: Duration,
    what: &str,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    wait_until_right(patience, what, || probe().ok_or("not yet"))
}

/// As [`wait_until_within`], until `probe` finds nothing wrong. A test that waits too long says what was wrong last.
pub fn wait_until_right<T, W: Display>(
    patience: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, W>,
) -> T {
    let began = Instant::now();
    loop {
        let wrong = match probe() {
            Ok(found) => return found,
            Err(wrong) => wrong,
        };
        let waited = began.elapsed();
        assert!(
            waited < patience,
            "waited {} s in vain until {what}: {wrong}",
            patience.as_secs()
        );
        pause(waited);
    }
}

/// The pause between two looks at the world: the machine has to carry a look beside what is waited for, so that what takes long is looked at
/// less often. At most a tenth of a wait is lost by that.
#[expect(
    clippy::disallowed_methods,
    reason = "the pause between two looks of a wait; nothing depends on its length"
)]
fn pause(waited: Duration) {
    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_millis(500);
    std::thread::sleep((waited / 10).clamp(SHORTEST, LONGEST));
}
