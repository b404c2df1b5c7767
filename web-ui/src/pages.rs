//! One file for each page: its template, its form, `show`, `save`, and its tests.

pub mod access;
pub mod account;
pub mod backup;
pub mod claim;
pub mod confirm;
pub mod conflict;
pub mod devices;
pub mod diagnose;
mod edit;
pub mod firewall;
pub mod forwards;
pub mod helpers;
pub mod history;
pub mod internet;
pub mod journal;
pub mod local_network;
pub mod login;
pub mod look_again;
pub mod mend;
pub mod overview;
pub mod passthrough;
pub mod ports;
pub mod rules;
pub mod self_test;
pub mod sessions;
pub mod switch_on;
pub mod tools;
