//! What an operator sees of clos from outside: logs, metrics and the printer of error chains.
//!
//! Parts, in reading order: [`chain`] prints an error with its causes, [`logs`] sets up the log
//! output, [`metrics`] counts and times, what this process itself uses included. Serving
//! `/metrics` over HTTP is not here.

pub mod chain;
pub mod logs;
pub mod metrics;
mod process;

pub use chain::Chain;
pub use metrics::Metrics;
