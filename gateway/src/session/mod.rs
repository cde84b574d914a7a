//! A session: one live connection of a device, from Hello to its close.

pub mod in_flight;
pub mod rate;
