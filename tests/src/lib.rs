//! The lab: a little internet in network namespaces, and what the tests do in it.
//!
//! ```text
//!  laptop1 .101 ─┐                                              ┌─ server1  203.0.113.10
//!  laptop2 .102 ─┼─ lan-switch ── lan0 router wan0 ── internet ─┼─ server2  203.0.113.20
//!  phone   .103 ─┘  192.168.1.0/24       198.51.100.0/24        └─ attacker 203.0.113.66
//! ```
//!
//! Each [`Lab`] is a process tree of its own in a private mount, PID and network namespace: two labs never meet, and when
//! the test ends, however it ends, the kernel removes everything.

pub mod debian;
mod ethernet;
pub mod figures;
mod forged;
mod form;
mod hail;
mod hoard;
mod host;
pub mod http;
mod lab;
mod listing;
mod nat;
mod owner;
mod packet;
pub mod paper;
mod postern;
pub mod power;
mod process;
mod provider;
mod random;
pub mod rescue;
mod silence;
pub mod sim;
pub mod talk;
pub mod tool;
mod topology;
mod traffic;
mod visitor;
mod vpn;
pub mod wait;
mod webdriver;

pub use debian::Debian;
pub use forged::{Delivery, Ear, Forged, Forger, hex};
pub use form::Form;
pub use hail::{Hail, Steady, Totals};
pub use hoard::Hoard;
pub use host::{Host, Output};
pub use lab::{Lab, programs};
pub use listing::{parts, without_learnt};
pub use nat::Nat;
pub use owner::{NotDone, Owner};
pub use packet::Kind;
pub use postern::{CAPABILITIES, DOOR, PASSWORD, Postern, ROUTER_SETTINGS};
pub use process::Process;
pub use random::Random;
pub use silence::Silence;
pub use talk::{Heard, Said, Talk};
pub use topology::{address, address6};
pub use traffic::{Arrival, Echo, Flow, Probe};
pub use visitor::Visitor;
pub use vpn::{Call, CallOptions, PptpServer, Program, Tunnel, VpnServer, last_pong, missing_pongs};
pub use webdriver::Browser;
