//! What images are in the fake: which program a container of one runs, and what the registry answers. How containers live is not here.

/// What a container does once it was started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    pub(super) course: Course,
    pub(super) stop_code: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Course {
    Runs,
    Exits { code: i64, starts: u32 },
    Refused { message: String },
}

impl Program {
    /// It runs until something ends it, and ends by SIGTERM with 143.
    pub fn runs() -> Self {
        Self {
            course: Course::Runs,
            stop_code: Some(143),
        }
    }

    /// It ends at once, at every start.
    pub fn exits(code: i64) -> Self {
        Self::exits_first(u32::MAX, code)
    }

    /// It ends at once at a container's first starts, so many of them, and runs when it is started once more.
    pub fn exits_first(starts: u32, code: i64) -> Self {
        Self {
            course: Course::Exits { code, starts },
            stop_code: Some(143),
        }
    }

    /// It cannot be started: the engine refuses with these words, as it does for a command that does not exist.
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            course: Course::Refused {
                message: message.into(),
            },
            stop_code: Some(143),
        }
    }

    /// It ends with this code when it is asked to stop.
    #[must_use]
    pub fn stopping_with(mut self, code: i64) -> Self {
        self.stop_code = Some(code);
        self
    }

    /// It ignores the signal of a stop: the engine kills it after the grace period.
    #[must_use]
    pub fn ignoring_stop(mut self) -> Self {
        self.stop_code = None;
        self
    }
}

/// An image of the fake: on the host or in the registry. Two that differ have different ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FakeImage {
    pub(super) name: String,
    pub(super) program: Program,
    pub(super) architecture: String,
    pub(super) health_check: bool,
}

impl FakeImage {
    /// One for `amd64`, whose program runs, without a health check.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            program: Program::runs(),
            architecture: "amd64".to_owned(),
            health_check: false,
        }
    }

    /// With this program.
    #[must_use]
    pub fn program(mut self, program: Program) -> Self {
        self.program = program;
        self
    }

    /// For this architecture.
    #[must_use]
    pub fn architecture(mut self, architecture: impl Into<String>) -> Self {
        self.architecture = architecture.into();
        self
    }

    /// With a health check of its own, which says `Starting` after each start until it is told what to say.
    #[must_use]
    pub fn with_health_check(mut self) -> Self {
        self.health_check = true;
        self
    }
}

/// What the registry answers to a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pull {
    Has(FakeImage),
    Refuses { message: String, transient: bool },
}
