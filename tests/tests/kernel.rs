//! `postern::kernel::linux` against a real kernel. Each test runs itself again in a network namespace of its own, most
//! of them a second time as the daemon runs: not as root, with three capabilities and no way to more.

#![allow(clippy::unwrap_used)] // a test that panics has said no

#[path = "kernel/conntrack.rs"]
mod conntrack;
#[path = "kernel/namespace.rs"]
mod namespace;
#[path = "kernel/network.rs"]
mod network;
#[path = "kernel/rtnetlink.rs"]
mod rtnetlink;
#[path = "kernel/table.rs"]
mod table;
