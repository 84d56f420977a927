//! How many file descriptors the server may have, and how many of them its clients get. What a connection does is the API server's
//! business.

use clos_apiserver::Limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open files to what this process may have at most, and says what it is now; `None` is without a limit. The usual
/// first limit is low for the sake of programs that clos is none of.
pub(crate) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, ?current, "the limit of open files could not be raised");
            current
        }
    }
}

/// Clients get half of the descriptors at most: the engine, the store and the sources need some, too.
pub(crate) fn share(limits: Limits, descriptors: Option<u64>) -> Limits {
    let half = descriptors.map_or(usize::MAX, |all| {
        usize::try_from(all / 2).unwrap_or(usize::MAX)
    });
    Limits {
        connections: limits.connections.min(half).max(1),
        ..limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_half_of_few_descriptors_and_of_many_what_is_enough() {
        let connections = |descriptors| share(Limits::default(), descriptors).connections;
        assert_eq!(connections(Some(64)), 32);
        assert_eq!(connections(Some(1)), 1);
        assert_eq!(connections(Some(1 << 20)), Limits::default().connections);
        assert_eq!(connections(None), Limits::default().connections);
    }

    #[test]
    fn a_raised_limit_is_the_most_there_may_be() {
        assert_eq!(raise(), getrlimit(Resource::Nofile).maximum);
    }
}
