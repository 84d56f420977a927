//! The control loops: each makes one kind's world match what is declared, and says in the object's status how far it is. They reach
//! objects through `kube::Client` and containers through `clos_engine::Engine`, and decide nothing that `clos-plan` can decide.
//!
//! In reading order: [`Controllers::run`] starts the `parts` as `tasks`; `wiring` says who wakes whom, over `wake` (queues), `cache` (watches) and `index`
//! (who cares about what) and `members` (who belongs together), both kept as `pairs`; `service` makes Instances, `instance` makes containers, `group`, `port`, `host`, `namespace` and `gc` are the
//! other kinds' loops. The engine's side: `gate` remembers whether its state is known, `sync` keeps that true and wakes, `sweep` removes
//! leftovers, `metered` bounds and times calls. Carrying out: `execute` (plans), `api_call` (one call to the API). Telling: `status`,
//! `trail` (audit), `events`. `retry` says how long to wait after a failure.

mod api_call;
mod cache;
mod events;
mod execute;
mod gate;
mod gc;
mod group;
mod host;
mod index;
mod instance;
mod members;
mod metered;
mod namespace;
mod pairs;
mod parts;
mod port;
mod retry;
mod run;
mod service;
mod status;
mod sweep;
mod sync;
mod tasks;
mod trail;
mod wake;
mod wiring;

pub use host::host_name;
pub use run::{Config, Controllers};
pub use tasks::RunError;
