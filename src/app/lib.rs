//! The composition root: a configuration goes in, one running server comes out. Everything that is made once is made here, in one order,
//! and every task has its place in one task set. What the parts do is their crates' business; the command line is not here.
//!
//! In reading order: [`config`] is what a server can be told; [`mod@serve`] makes and runs it, over `parts` (what is made once,
//! with `credentials`, `installation` and `listen`), `tasks`, `source` and `folders`, `readiness`, `descriptors` and `upkeep`; [`notice`] is what it tells
//! whoever started it, [`error`] why it did not start. [`backup`] keeps and restores what a server holds.

pub mod backup;
pub mod config;
mod credentials;
mod descriptors;
pub mod error;
mod folders;
pub mod installation;
mod listen;
pub mod notice;
mod parts;
mod readiness;
pub mod serve;
mod source;
mod tasks;
mod upkeep;

pub use config::Config;
pub use error::ServeError;
pub use notice::Notice;
pub use serve::serve;
