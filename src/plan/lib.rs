//! Pure planning: desired and observed state in, actions out. No clock, no I/O, no async, no randomness: time comes in as a value.
//!
//! In reading order: [`action`] is what a plan is made of; [`container`] is what the engine is asked for; [`observed`] is what the
//! engine shows; [`desired`] turns a declaration and looked-up [`values`] into what the engine is to be asked for; `ownership` says which of what is shown is
//! ours, [`drift`] in what it differs; [`instance`] decides what one engine must do for one Instance, with [`restart`] for ends and waits
//! and `ports` for who holds which; [`status`] says what became of it, by how its plan ended (`outcome`); [`orphan`] decides on containers whose Instance is gone;
//! [`service`] decides which Instances should exist, [`order`] what waits for what, [`group`] rolls up; [`report`] prints plans for
//! people.

pub mod action;
pub mod container;
pub mod desired;
pub mod drift;
pub mod group;
pub mod instance;
pub mod observed;
pub mod order;
pub mod orphan;
mod outcome;
mod ownership;
mod ports;
pub mod report;
pub mod restart;
pub mod service;
pub mod status;
pub mod values;
