//! What a fake engine starts with: images, a registry, a clock and a deadline. What a test does to it later is not here.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use super::faults::{EventFaults, Faults};
use super::program::{FakeImage, Pull};
use super::world::World;
use super::{FakeEngine, Shared, State};

/// What a fake engine starts with.
pub struct Builder {
    world: World,
    deadline: Duration,
}

impl Builder {
    /// An image on the host whose program runs.
    #[must_use]
    pub fn image(self, name: &str) -> Self {
        self.present(FakeImage::new(name))
    }

    /// An image on the host.
    #[must_use]
    pub fn present(mut self, image: FakeImage) -> Self {
        self.world.images.insert(image.name.clone(), image);
        self
    }

    /// An image that the registry has and the host has not.
    #[must_use]
    pub fn pullable(mut self, image: FakeImage) -> Self {
        self.world
            .registry
            .insert(image.name.clone(), Pull::Has(image));
        self
    }

    /// An image that the registry refuses for good, in these words.
    #[must_use]
    pub fn denied(mut self, name: &str, message: &str) -> Self {
        let pull = Pull::Refuses {
            message: message.to_owned(),
            transient: false,
        };
        self.world.registry.insert(name.to_owned(), pull);
        self
    }

    /// An image that cannot be pulled for now, in these words.
    #[must_use]
    pub fn unpullable_for_now(mut self, name: &str, message: &str) -> Self {
        let pull = Pull::Refuses {
            message: message.to_owned(),
            transient: true,
        };
        self.world.registry.insert(name.to_owned(), pull);
        self
    }

    /// The engine's clock. Without one each look at the clock is a millisecond after the last.
    #[must_use]
    pub fn clock(mut self, clock: impl FnMut() -> Timestamp + Send + 'static) -> Self {
        self.world.clock = Box::new(clock);
        self
    }

    /// How long a call waits for an engine that hangs; 100 ms without it.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The engine.
    pub fn build(self) -> FakeEngine {
        let state = State {
            world: self.world,
            faults: Faults::default(),
            event_faults: EventFaults::default(),
            subscribers: Vec::new(),
            calls: Vec::new(),
            mutations: Vec::new(),
        };
        FakeEngine {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changes: watch::Sender::new(0),
                deadline: self.deadline,
            }),
        }
    }
}

impl FakeEngine {
    /// What it is to start with. Nothing, unless told.
    pub fn builder() -> Builder {
        let mut now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56);
        let ticking = move || {
            now += SignedDuration::from_millis(1);
            now
        };
        Builder {
            world: World::new(Box::new(ticking)),
            deadline: Duration::from_millis(100),
        }
    }
}
