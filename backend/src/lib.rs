//! Postern: the administration and the firewall of a home router.
//!
//! ```text
//!  browser ──HTTP──▶ postern-web ──┐ web.sock
//!                                  ▼
//!  postern <verb> (CLI) ─admin.sock▶ postern daemon ──▶ nft · conntrack · rtnetlink
//!                                    │
//!                                    ▼
//!                                  SQLite
//! ```
//!
//! Arrows never turn back: `door → login → appliance → {store, sessions → kernel} → {ruleset, services} → settings`, and
//! `door → {selftest → kernel, tools → appliance, certificate}`; [`log`] and `file` are used by all, and [`journal`], which stands on `store`, by those from `appliance` on.
//! [`settings`], [`ruleset`] and [`services`] do no I/O and read no clock. This crate knows no HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod appliance;
pub mod backup;
pub mod certificate;
mod cli;
pub mod clock;
mod daemon;
pub mod diagnosis;
pub mod door;
pub(crate) mod file;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod journal;
pub mod kernel;
pub mod log;
pub mod login;
pub mod program;
pub mod ruleset;
pub mod selftest;
pub mod services;
pub mod sessions;
pub mod settings;
pub mod sides;
pub mod store;
pub mod tools;
pub mod uci;
