//! The kinds of `clos.dev/v1alpha1` as plain data: what users declare and what clos reports. No I/O, no planning, no Docker.
//!
//! In reading order: [`service`] is what users write most; [`container`], [`lifecycle`] and [`health`] are its parts; [`dependencies`] what can never be
//! met among services; [`group`], [`port`], [`instance`] and [`host`] are the other kinds; [`conditions`] says how any of them is; [`names`] holds every label,
//! annotation and derived name; [`removals`] says what waits for a confirmation; [`duration`] and [`quantity`] are the checked values; [`crds`]
//! is the registry of kinds.

#![expect(
    unreachable_pub,
    reason = "kube's KubeSchema derive declares a public struct inside a function"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "kube's printcolumn is given once a column, and columns share types"
)]

pub mod conditions;
pub mod container;
pub mod crds;
pub mod dependencies;
pub mod duration;
pub mod group;
pub mod health;
pub mod host;
pub mod instance;
pub mod lifecycle;
pub mod names;
pub mod port;
pub mod quantity;
pub mod removals;
pub mod service;

pub use crds::crds;
pub use group::Group;
pub use host::Host;
pub use instance::Instance;
pub use port::Port;
pub use service::Service;

/// The API group of every kind in this crate.
pub const API_GROUP: &str = "clos.dev";
/// The served version of every kind in this crate.
pub const API_VERSION: &str = "v1alpha1";
