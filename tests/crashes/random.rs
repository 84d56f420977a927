//! Killed at times that nobody chose, again and again, while what is declared changes.

use std::time::{Duration, Instant};

use clos_harness::Setup;

use crate::audit;
use crate::shop::Shop;

const ROUNDS: usize = 10;

/// The longest time from a change to the death of the server.
const LONGEST: u64 = 1_500;

/// A row of numbers that looks random and is the same each time.
struct Dice(u64);

impl Dice {
    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time of the death is what is random here; nothing waits for anything"
)]
fn some_time(dice: &mut Dice) {
    std::thread::sleep(Duration::from_millis(dice.below(LONGEST)));
}

fn churn(seed: u64) {
    let mut dice = Dice(seed);
    let mut shop = Shop::new();
    let port = shop.port;
    let setup = Setup::new();
    let mut server = shop
        .files()
        .iter()
        .fold(setup, |setup, (name, content)| setup.file(name, content))
        .start();
    for _ in 0..ROUNDS {
        shop.version = u32::try_from(dice.below(3)).unwrap();
        shop.workers = u32::try_from(dice.below(4)).unwrap();
        shop.port = port.filter(|_| dice.below(2) == 0);
        // The services are taken away one at a time: more at once would have to be confirmed.
        (shop.web, shop.side) =
            [(true, true), (false, true), (true, false)][usize::try_from(dice.below(3)).unwrap()];
        shop.declare(&server);
        some_time(&mut dice);
        server.kill_9();
        server.launch();
    }
    let since = Instant::now();
    shop.right().until_so(&server, since);
    audit::agrees(&server);
}

#[test]
fn kills_at_random_times_leave_exactly_what_is_declared() {
    std::thread::scope(|scope| {
        for seed in [7, 4711] {
            scope.spawn(move || churn(seed));
        }
    });
}
