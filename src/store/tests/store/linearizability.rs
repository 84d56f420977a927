//! Was a history of concurrent operations possible if each of them had happened at one moment? The search of Wing and
//! Gong, with Lowe's memory of what was tried in vain. It knows nothing of stores; what an operation does, its caller says.
//!
//! An operation occupies the time from its call to its end. The history is linearizable when there is an order of the
//! operations in which each does to a plain sequential state what it answered, and in which none comes before one that
//! had ended before it was called. The search takes one operation after the other that may come next, those that no
//! operation still to be placed has to precede, and goes back where that leads nowhere. Two ways to place the same
//! operations that lead to the same state have the same future, so the second is not followed.
//!
//! An operation whose answer was lost is uncertain: it has happened at one moment between its call and its end (the crash
//! that took its answer), or never.

use std::collections::BTreeSet;

/// One operation of a history; times are any numbers that grow.
#[derive(Clone, Debug)]
pub(crate) struct Operation<O> {
    pub(crate) call: u64,
    pub(crate) end: u64,
    /// Whether it was answered.
    pub(crate) certain: bool,
    /// What was asked and what was answered.
    pub(crate) what: O,
}

/// Whether there is such an order. `step` answers the state after an operation, or `None` when it could not
/// have answered so in this state.
pub(crate) fn is_linearizable<S: Clone + Ord, O>(
    initial: &S,
    history: &[Operation<O>],
    step: impl Fn(&S, &O) -> Option<S>,
) -> bool {
    let mut history: Vec<_> = history.iter().collect();
    history.sort_by_key(|operation| operation.call);
    let placed = Placed {
        bits: vec![0; history.len().div_ceil(64)],
        latest_call: 0,
        settled: 0,
    };
    let mut search = Search {
        history,
        step,
        tried: BTreeSet::new(),
    };
    search.complete(placed, initial)
}

/// Which operations have their place.
#[derive(Clone)]
struct Placed {
    bits: Vec<u64>,
    /// The latest call among them: an uncertain operation that ended before it comes too late.
    latest_call: u64,
    /// All before this one are placed or come too late.
    settled: usize,
}

impl Placed {
    fn has(&self, index: usize) -> bool {
        self.bits[index / 64] >> (index % 64) & 1 == 1
    }

    fn with(&self, index: usize, call: u64) -> Self {
        let mut placed = self.clone();
        placed.bits[index / 64] |= 1 << (index % 64);
        placed.latest_call = placed.latest_call.max(call);
        placed
    }
}

struct Search<'h, S, O, F> {
    /// In the order of the calls.
    history: Vec<&'h Operation<O>>,
    step: F,
    tried: BTreeSet<(Vec<u64>, S)>,
}

impl<S: Clone + Ord, O, F: Fn(&S, &O) -> Option<S>> Search<'_, S, O, F> {
    /// Whether what is not placed yet can be.
    fn complete(&mut self, mut placed: Placed, state: &S) -> bool {
        let Some(next) = self.next(&mut placed) else {
            return true;
        };
        if !self.tried.insert((placed.bits.clone(), state.clone())) {
            return false;
        }
        next.into_iter().any(|index| {
            let operation = self.history[index];
            (self.step)(state, &operation.what)
                .is_some_and(|after| self.complete(placed.with(index, operation.call), &after))
        })
    }

    /// The operations that no other has to precede; `None` when only uncertain ones are left.
    fn next(&self, placed: &mut Placed) -> Option<Vec<usize>> {
        let too_late = |operation: &Operation<O>, placed: &Placed| {
            !operation.certain && operation.end < placed.latest_call
        };
        let (mut next, mut first_end) = (Vec::new(), None);
        for (index, operation) in self.history.iter().enumerate().skip(placed.settled) {
            if first_end.is_some_and(|end| operation.call > end) {
                break;
            }
            if placed.has(index) || too_late(operation, placed) {
                if index == placed.settled {
                    placed.settled += 1;
                }
                continue;
            }
            if operation.certain {
                first_end =
                    Some(first_end.map_or(operation.end, |end: u64| end.min(operation.end)));
            }
            next.push(index);
        }
        first_end.map(|end| {
            next.retain(|index| self.history[*index].call <= end);
            next
        })
    }
}

mod tests {
    use proptest::prelude::*;

    use super::*;

    /// On a register that holds 0 at first.
    #[derive(Clone, Copy, Debug)]
    enum Register {
        Write(u8),
        Read(u8),
        /// From, to, and whether it did.
        Swap(u8, u8, bool),
    }
    use Register::{Read, Swap, Write};

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the checker's states are references"
    )]
    fn step(state: &u8, what: &Register) -> Option<u8> {
        match *what {
            Write(value) => Some(value),
            Read(value) => (value == *state).then_some(*state),
            Swap(from, to, true) => (from == *state).then_some(to),
            Swap(from, _, false) => (from != *state).then_some(*state),
        }
    }

    fn did(call: u64, end: u64, what: Register) -> Operation<Register> {
        Operation {
            call,
            end,
            certain: true,
            what,
        }
    }

    fn lost(call: u64, end: u64, what: Register) -> Operation<Register> {
        Operation {
            certain: false,
            ..did(call, end, what)
        }
    }

    fn possible(history: &[Operation<Register>]) -> bool {
        is_linearizable(&0, history, step)
    }

    #[test]
    fn histories_that_are_possible_are_accepted() {
        assert!(possible(&[]));
        assert!(possible(&[did(1, 2, Write(1)), did(3, 4, Read(1))]));
        // A read beside a write sees either.
        assert!(possible(&[did(1, 4, Write(1)), did(2, 3, Read(0))]));
        assert!(possible(&[did(1, 4, Write(1)), did(2, 3, Read(1))]));
        // Two writes beside each other, seen in the order that is not theirs of calling.
        let crossed = [
            did(1, 6, Write(1)),
            did(2, 6, Write(2)),
            did(3, 4, Read(2)),
            did(5, 6, Read(1)),
        ];
        assert!(possible(&crossed));
        // One of two competing swaps.
        let one = [did(1, 4, Swap(0, 1, true)), did(2, 3, Swap(0, 2, false))];
        assert!(possible(&one));
    }

    #[test]
    fn histories_that_are_not_are_refused() {
        // A stale read.
        assert!(!possible(&[did(1, 2, Write(1)), did(3, 4, Read(0))]));
        // A value that nobody wrote.
        assert!(!possible(&[did(1, 9, Read(7)), did(1, 9, Write(1))]));
        // A value before it was written.
        assert!(!possible(&[did(1, 2, Read(1)), did(3, 4, Write(1))]));
        // Both of two competing swaps, or none of them.
        let both = [did(1, 4, Swap(0, 1, true)), did(2, 3, Swap(0, 2, true))];
        assert!(!possible(&both));
        let none = [did(1, 4, Swap(0, 1, false)), did(2, 3, Swap(0, 2, false))];
        assert!(!possible(&none));
        // A lost update: the second read goes back.
        let back = [did(1, 9, Write(1)), did(2, 3, Read(1)), did(4, 5, Read(0))];
        assert!(!possible(&back));
        // Two readers who disagree on the order of two writes.
        let disagree = [
            did(1, 9, Write(1)),
            did(1, 9, Write(2)),
            did(2, 3, Read(1)),
            did(4, 5, Read(2)),
            did(6, 7, Read(1)),
        ];
        assert!(!possible(&disagree));
    }

    #[test]
    fn an_uncertain_operation_has_happened_before_its_end_or_never() {
        let crash = 5;
        let write = lost(1, crash, Write(1));
        for seen in [0, 1] {
            assert!(possible(&[write.clone(), did(6, 7, Read(seen))]));
        }
        let undone = [write.clone(), did(2, 3, Read(1)), did(6, 7, Read(0))];
        assert!(!possible(&undone), "what was seen cannot be lost");
        let late = [write.clone(), did(6, 7, Read(0)), did(8, 9, Read(1))];
        assert!(!possible(&late), "what was lost does not come back");
        assert!(!possible(&[did(2, 3, Read(1)), lost(4, 5, Write(1))]));
    }

    /// All orders, tried one by one.
    fn by_force(history: &[Operation<Register>], state: u8, latest_call: u64) -> bool {
        if history.iter().all(|operation| !operation.certain) {
            return true;
        }
        (0..history.len()).any(|index| {
            let mut rest = history.to_vec();
            let next = rest.remove(index);
            let too_early = rest
                .iter()
                .any(|other| other.certain && other.end < next.call);
            let too_late = !next.certain && next.end < latest_call;
            !too_early
                && !too_late
                && step(&state, &next.what)
                    .is_some_and(|after| by_force(&rest, after, latest_call.max(next.call)))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_answers_as_trying_all_orders_does(operations in prop::collection::vec((0..12_u64, 0..6_u64, 0..5_u8, 0..4_u8, 0..3_u8, 0..3_u8), 0..6)) {
            let history: Vec<_> = operations
                .into_iter()
                .map(|(call, length, certain, kind, a, b)| Operation {
                    call,
                    end: call + length,
                    certain: certain > 0,
                    what: match kind {
                        0 => Write(a),
                        1 => Read(a),
                        kind => Swap(a, b, kind == 2),
                    },
                })
                .collect();
            prop_assert_eq!(possible(&history), by_force(&history, 0, 0));
        }
    }
}
